package workload

import (
	"fmt"
	"strings"
)

// How many rows tables without hot keys keep, and about how many the ledger.
const (
	keepRows   = 250
	keepLedger = 800
)

// trim keeps the tables small that only grow otherwise.
func (s *session) trim() []step {
	table := pick(s.r, []string{plain.table, bag.table, bag.table, toastFull.table, always.table, "private.pile", insertion.table, nothing.table, "private.notes"})
	switch table {
	case insertion.table, nothing.table:
		return one(table, fmt.Sprintf("do $trim$ begin if (select count(*) from %[1]s) > %[2]d then truncate %[1]s; end if; end $trim$", table, keepRows))
	}
	return one(table, fmt.Sprintf("delete from %[1]s where ctid = any(array(select ctid from %[1]s offset %[2]d))", table, keepRows))
}

// prune deletes the session's ledger rows of long ago.
func (s *session) prune() []step {
	below := s.seq - max(25, keepLedger/int64(s.load.cfg.Sessions))
	s.load.forget(s.id, below)
	return one("public.ledger", fmt.Sprintf("delete from public.ledger where session = %d and seq <= %d", s.id, below))
}

var truncatable = []string{plain.table, upper.table, composite.table, byIndex.table, bag.table, toast.table, toastKeyed.table, toastFull.table, events.table, "public.events_1",
	byList.table, `"Odd.Schema"."By List/eu"`, `"Odd.Schema"."By List/rest"`, leaf.table, seats.table, always.table, computed.table, insertion.table, nothing.table, odd.table,
	longName.table, switching.table, types.table, wide.table}

// truncate empties a table, and often fills it again.
func (s *session) truncate() []step {
	table := pick(s.r, truncatable)
	steps := append(s.something(), step{table: table, sql: "truncate " + table})
	for _, sh := range insertable {
		if sh.table == table {
			steps = append(steps, step{table: table, sql: sh.insert(s.r, ids(s.r, 3)...)})
		}
	}
	return steps
}

func (s *session) truncateGroup() []step {
	group := pick(s.r, [][]string{
		{plain.table, upper.table, composite.table},
		{root.table, branch.table, leaf.table},
		{events.table, byList.table, odd.table},
		{bag.table, "private.pile", nothing.table},
		{toast.table, toastKeyed.table, toastFull.table, wide.table, types.table},
		{"public.events_0", "public.events_2", longName.table},
	})
	return one(group[0], "truncate "+strings.Join(group, ", "))
}

func (s *session) truncateCascade() []step {
	return one(root.table, "truncate "+pick(s.r, []string{root.table, branch.table})+" cascade", root.upsert(s.r, hot(s.r)))
}

func (s *session) truncateRestart() []step {
	return one(always.table, always.insert(s.r, 1), "truncate public.always, public.insert_only restart identity", always.insert(s.r, 1, 2))
}

// truncateUndone rolls a truncation back, alone.
func (s *session) truncateUndone() []step {
	sh := pick(s.r, []*shape{plain, bag, toast, events})
	return one(sh.table, sh.insert(s.r, hot(s.r))+conflict(sh), "savepoint t", "truncate "+sh.table, sh.insert(s.r, 1), "rollback to savepoint t", sh.update(s.r, hot(s.r)))
}

func conflict(sh *shape) string {
	if sh.keys == 0 {
		return ""
	}
	return " on conflict do nothing"
}

// bulkRows times the statements of big makes more than 20 000 changes.
const bulkRows = 2500

// big is a transaction that no memory of the decoder holds, parts of which are undone.
func (s *session) big() error {
	const table = "public.bulk"
	steps := one(table, "delete from public.bulk",
		fmt.Sprintf("insert into public.bulk select i, i, md5(i::text) from generate_series(1, %d) i", bulkRows),
		"update public.bulk set n = n + 1", "savepoint half", "update public.bulk set v = v || 'undone'", "delete from public.bulk where id % 3 = 0")
	steps = append(steps, one(table, "rollback to savepoint half", "update public.bulk set n = n + 1, v = v || n", "update public.bulk set id = -id",
		"savepoint kept", "update public.bulk set v = null where id % 2 = 0", "release savepoint kept", "update public.bulk set id = -id, v = 'x' || id")...)
	steps = append(steps, s.something()...)
	steps = append(steps, one(table, "update public.bulk set n = n + 1", "update public.bulk set n = -n", "update public.bulk set n = n * 2",
		"delete from public.bulk where id > 100")...)
	return s.do(plan{kind: "big", steps: steps, last: s.r.IntN(2) == 0, rollback: s.r.IntN(8) == 0, level: "read committed"})
}
