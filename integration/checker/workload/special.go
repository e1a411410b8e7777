package workload

import (
	"fmt"
	"strconv"
)

// empty transactions leave nothing in the log of changes.
func (s *session) empty() error {
	return s.do(plan{kind: "empty", quiet: true, steps: one("", "select count(*) from public.plain")})
}

// unpublished changes only what nobody publishes.
func (s *session) unpublished() error {
	statements := []string{fmt.Sprintf("insert into private.notes values (%d, 'n') on conflict (id) do update set v = excluded.v || 'n'", hot(s.r)), "insert into private.pile values ('p'), ('q')"}
	if s.r.IntN(20) == 0 { // the catalog changes, and nothing else
		statements = append(statements, "create temporary table passing (a int) on commit drop", "insert into passing values (1)")
	}
	if s.r.IntN(20) == 0 {
		statements = append(statements, "truncate private.pile")
	}
	return s.do(plan{kind: "unpublished", quiet: true, steps: one("private.notes", statements...), rollback: s.r.IntN(10) == 0})
}

// rowLocks has a transaction id and changes nothing.
func (s *session) rowLocks() error {
	sh := pick(s.r, keyed)
	return s.do(plan{kind: "row locks", quiet: true, steps: one(sh.table, fmt.Sprintf("select 1 from %s where %s for %s", sh.table, sh.whereAny(ids(s.r, 3)),
		pick(s.r, []string{"update", "no key update", "share", "key share"})))})
}

// messageAlone is a message that waits for no transaction, or a transaction of messages alone.
func (s *session) messageAlone() error {
	steps := []step{{sql: emit(s.r, false)}}
	if s.r.IntN(2) == 0 {
		steps = []step{{sql: emit(s.r, true)}, {sql: emit(s.r, true)}}
	}
	return s.do(plan{kind: "message alone", quiet: true, steps: steps, rollback: s.r.IntN(5) == 0})
}

// changeIdentity changes what a change says of the row before, between transactions or within one.
func (s *session) changeIdentity() error {
	to := pick(s.r, []string{"full", "default"})
	steps := one(switching.table, "alter table public.identity_switch replica identity "+to)
	if s.r.IntN(2) == 0 {
		a := hot(s.r)
		steps = append(one(switching.table, switching.upsert(s.r, a), switching.update(s.r, a)), steps...)
		steps = append(steps, one(switching.table, switching.update(s.r, a), switching.remove(a+200), switching.rekey(a, a+200), switching.remove(hot(s.r)))...)
	}
	return s.do(plan{kind: "change identity", steps: steps, rollback: s.r.IntN(10) == 0})
}

// commitTimes makes a few transactions whose commit times are equal or run backwards, as clocks do. Such a time is the origin's.
func (s *session) commitTimes() error {
	const name = "commit times"
	if _, err := s.exec("select pg_replication_origin_session_setup(" + literal(of(s.origin())) + ")"); err != nil {
		return s.unusual(err)
	}
	now, err := s.exec("select clock_timestamp()")
	if err != nil {
		return s.unusual(err)
	}
	base := string(now[0].Rows[0][0])
	for range 2 + s.r.IntN(3) {
		back := pick(s.r, []int{0, 0, 0, 1, 50, 3000, 20000})
		steps := []step{{sql: fmt.Sprintf("select pg_replication_origin_xact_setup('0/1', timestamptz '%s' - interval '%d microseconds')", base, back)}}
		if err := s.do(plan{kind: name, steps: append(steps, s.something()...)}); err != nil {
			return err
		}
		if s.lost() {
			return nil
		}
	}
	_, err = s.exec("select pg_replication_origin_session_reset()")
	return s.unusual(err)
}

func (s *session) origin() string { return "load_" + strconv.Itoa(s.id) }

// prepared is a transaction in two phases.
func (s *session) prepared() error {
	steps := s.mixed()
	if s.r.IntN(3) == 0 {
		steps = s.savepoints()
	}
	gid, err := s.prepare(plan{kind: "prepared", steps: steps, last: s.r.IntN(2) == 0})
	if err != nil || gid == "" {
		return err
	}
	s.hold()
	return s.resolve(gid, s.r.IntN(4) > 0)
}

// preparedPair makes two transactions whose commit records lie one behind the other. Their tables differ: the second must not
// wait for the first.
func (s *session) preparedPair() error {
	first, err := s.prepare(plan{kind: "prepared pair", steps: one(bag.table, s.fresh(bag, 1+s.r.IntN(3)))})
	if err != nil || first == "" {
		return err
	}
	second, err := s.prepare(plan{kind: "prepared pair", steps: one(always.table, s.fresh(always, 1+s.r.IntN(3)))})
	if err != nil || s.lost() {
		return err
	}
	if second == "" {
		return s.resolve(first, true)
	}
	return s.commitPair(first, second)
}
