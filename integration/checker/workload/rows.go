package workload

import (
	"fmt"
	"strings"
)

func one(table string, statements ...string) []step {
	var out []step
	for _, sql := range statements {
		out = append(out, step{table: table, sql: sql})
	}
	return out
}

// few is a number of rows that suits a shape: rows of some are long.
func (s *session) few(sh *shape) int {
	switch sh {
	case plain, bag, events, composite, insertion:
		return 2 + s.r.IntN(40)
	}
	return 2 + s.r.IntN(5)
}

// fresh inserts rows; where there is a key, one that is taken mostly does no harm.
func (s *session) fresh(sh *shape, n int) string {
	if sh.keys == 0 {
		return sh.insert(s.r, make([]int, n)...)
	}
	sql := sh.insert(s.r, ids(s.r, n)...)
	if s.r.IntN(4) > 0 {
		var key []string
		for _, c := range sh.columns[:sh.keys] {
			key = append(key, c.name)
		}
		sql += " on conflict (" + strings.Join(key, ", ") + ") do nothing"
	}
	return sql
}

func (s *session) insert() []step {
	sh := pick(s.r, insertable)
	if sh == plain && s.r.IntN(2) == 0 { // an id of the sequence
		return one(sh.table, "insert into public.plain (n, v) values (1, "+literal(text(s.r))+")")
	}
	return one(sh.table, s.fresh(sh, 1))
}

func (s *session) insertMany() []step {
	sh := pick(s.r, insertable)
	return one(sh.table, s.fresh(sh, s.few(sh)))
}

func (s *session) update() []step {
	sh := pick(s.r, changeable)
	return one(sh.table, sh.update(s.r, hot(s.r)))
}

func (s *session) updateMany() []step {
	sh := pick(s.r, changeable)
	return one(sh.table, sh.update(s.r, ids(s.r, s.few(sh))...))
}

func (s *session) remove() []step {
	sh := pick(s.r, changeable)
	return one(sh.table, sh.remove(hot(s.r)))
}

func (s *session) removeMany() []step {
	sh := pick(s.r, changeable)
	return one(sh.table, sh.remove(ids(s.r, s.few(sh))...))
}

func (s *session) upsert() []step {
	sh := pick(s.r, keyed)
	return one(sh.table, sh.upsert(s.r, ids(s.r, 1+s.r.IntN(2)*s.few(sh))...))
}

func (s *session) copy() []step {
	sh := pick(s.r, changeable)
	chosen := ids(s.r, s.few(sh))
	sql, data := sh.copyRows(s.r, chosen...)
	load := step{table: sh.table, sql: sql, data: data}
	if sh.keys == 0 {
		return []step{load}
	}
	return []step{{table: sh.table, sql: sh.remove(chosen...)}, load}
}

// mixed does several things to several tables.
func (s *session) mixed() []step {
	var out []step
	for range 2 + s.r.IntN(5) {
		out = append(out, s.something()...)
	}
	return out
}

func (s *session) something() []step {
	return pick(s.r, []func(*session) []step{(*session).insert, (*session).insertMany, (*session).update, (*session).update, (*session).updateMany,
		(*session).remove, (*session).upsert, (*session).upsert, (*session).rekey, (*session).toastUnchanged})(s)
}

// rotate moves three keys in a circle: 1 to 2, 2 to 3, 3 to 1, by a key that nobody else uses.
func (s *session) rotate() []step {
	sh := pick(s.r, keyed)
	spare := -(s.id + 10)
	a, b, c := hot(s.r), 67+hot(s.r), 300+hot(s.r)
	return one(sh.table, sh.rekey(a, spare), sh.rekey(c, a), sh.rekey(b, c), sh.rekey(spare, b))
}

func (s *session) rekey() []step {
	sh := pick(s.r, keyed)
	from, to := hot(s.r), 200+hot(s.r)
	if s.r.IntN(2) == 0 {
		from, to = to, from
	}
	return one(sh.table, sh.remove(to), sh.rekey(from, to))
}

// rekeyToast changes the key of a row whose long values stay as they are.
func (s *session) rekeyToast() []step {
	sh := pick(s.r, []*shape{toast, toast, toastKeyed, byIndex})
	from, to := hot(s.r), 200+hot(s.r)
	steps := one(sh.table, sh.upsert(s.r, from), sh.remove(to), sh.rekey(from, to), fmt.Sprintf("update %s set n = 1 where %s", sh.table, sh.where(to)))
	return append(steps, one(sh.table, sh.remove(from), sh.rekey(to, from))...)
}

// toastUnchanged changes a short column beside long ones, in one row or in many.
func (s *session) toastUnchanged() []step {
	sh := pick(s.r, []*shape{toast, toast, toastKeyed, toastFull})
	return one(sh.table, fmt.Sprintf("update %s set n = %d where %s", sh.table, s.r.IntN(1000), sh.whereAny(ids(s.r, 1+s.r.IntN(6)))))
}

// reuse takes a key again after its row was deleted.
func (s *session) reuse() []step {
	sh, id := pick(s.r, keyed), hot(s.r)
	steps := one(sh.table, sh.remove(id), sh.insert(s.r, id))
	for range s.r.IntN(3) {
		steps = append(steps, one(sh.table, sh.update(s.r, id), sh.remove(id), sh.insert(s.r, id))...)
	}
	return steps
}

func (s *session) move() []step {
	if s.r.IntN(2) == 0 {
		from, to := hot(s.r), hot(s.r)
		return one(events.table, events.remove(to+200), events.rekey(from, to+200))
	}
	region := pick(s.r, []string{"eu", "us", "uk", "elsewhere"})
	id := hot(s.r)
	return one(byList.table, fmt.Sprintf("delete from %s where id = %d and region = %s and (region, id) <> (%s, %d)", byList.table, id, literal(of(region)), literal(of(byListKey(id)[0])), id),
		fmt.Sprintf("update %s set region = %s, v = 'moved' where %s", byList.table, literal(of(region)), byList.where(id)))
}
