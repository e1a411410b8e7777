package workload

import (
	"fmt"
	"math/rand/v2"
)

// tree changes tables that hang on each other, so that the server changes rows by itself.
func (s *session) tree() []step {
	a, b, c := hot(s.r), hot(s.r), hot(s.r)
	steps := one(root.table, root.upsert(s.r, a))
	steps = append(steps, one(branch.table, fmt.Sprintf("insert into public.tree_branch values (%d, %d, 'b') on conflict (id) do update set root_id = excluded.root_id", b, a))...)
	steps = append(steps, one(leaf.table, fmt.Sprintf("insert into public.tree_leaf values (%d, %d, 'l') on conflict (id) do update set branch_id = excluded.branch_id", c, b))...)
	switch s.r.IntN(6) {
	case 0: // goes down to the branches
		steps = append(steps, one(root.table, root.remove(a))...)
	case 1: // empties leaves
		steps = append(steps, one(branch.table, branch.remove(b))...)
	case 2: // keys change below
		steps = append(steps, one(root.table, root.remove(a+300), root.rekey(a, a+300))...)
	case 3:
		steps = append(steps, one(branch.table, branch.remove(b+300), branch.rekey(b, b+300))...)
	case 4:
		steps = append(steps, one(root.table, root.remove(a, a+300), root.insert(s.r, a))...)
	}
	return steps
}

// swap gives two rows each other's unique value, through a moment in which both have the same.
func (s *session) swap() []step {
	a, b := hot(s.r), 200+hot(s.r)
	steps := one(seats.table, fmt.Sprintf("insert into public.seats values (%d, %d) on conflict (id) do nothing", b, 200000+b))
	return append(steps, one(seats.table, fmt.Sprintf(`do $swap$ declare x int; y int; begin
  select seat into x from public.seats where id = %[1]d;
  select seat into y from public.seats where id = %[2]d;
  update public.seats set seat = y where id = %[1]d;
  update public.seats set seat = x, v = 'swapped' where id = %[2]d and exists (select from public.seats where id = %[1]d);
end $swap$`, a, b))...)
}

// identityColumn uses what an identity column allows and what it does not.
func (s *session) identityColumn() []step {
	id := -hot(s.r)
	return one(always.table, pick(s.r, [][]string{
		{always.insert(s.r, 1, 2), "update public.always set id = default where " + always.where(hot(s.r))},
		{fmt.Sprintf("insert into public.always (id, v) overriding system value values (%d, 'mine') on conflict (id) do update set v = excluded.v", id)},
		{fmt.Sprintf("delete from public.always where id = %d", id), always.insert(s.r, 1)},
		{"insert into public.always (id, v) overriding user value values (1, 'not one')"},
	})...)
}

// savepoints makes a tree of subtransactions, parts of which are rolled back.
func (s *session) savepoints() []step {
	steps := one(bag.table, s.fresh(bag, 2))
	for range 1 + s.r.IntN(3) {
		steps = append(steps, s.branchOff("sp", 1+s.r.IntN(5))...)
	}
	return steps
}

func (s *session) branchOff(name string, depth int) []step {
	back := "rollback to savepoint " + name
	out := []step{{sql: "savepoint " + name}}
	work := func() {
		for range s.r.IntN(3) {
			for _, st := range s.something() {
				st.rescue = back
				out = append(out, st)
			}
		}
	}
	work()
	if depth > 1 {
		for i := range 1 + s.r.IntN(2) {
			out = append(out, s.branchOff(fmt.Sprintf("%s_%d", name, i), depth-1-s.r.IntN(2))...)
		}
	}
	work()
	switch s.r.IntN(4) {
	case 0:
		out = append(out, step{sql: back})
		work()
	case 1, 2:
		out = append(out, step{sql: "release savepoint " + name})
	}
	return out
}

// manySavepoints has more subtransactions than a backend keeps in its cache (64), and rolls some back from the outside in.
func (s *session) manySavepoints() []step {
	var out []step
	n := 70 + s.r.IntN(20)
	for i := range n {
		out = append(out, step{table: bag.table, sql: fmt.Sprintf("savepoint s%d; insert into public.bag values (%d, 'deep')", i, i%3)})
	}
	return append(out, step{sql: fmt.Sprintf("rollback to savepoint s%d", n/2+s.r.IntN(n/2))}, step{table: plain.table, sql: plain.upsert(s.r, hot(s.r))},
		step{sql: fmt.Sprintf("release savepoint s%d", s.r.IntN(n/2))})
}

// exception is a block of PL/pgSQL that undoes a part of itself and goes on.
func (s *session) exception() []step {
	sh, other := pick(s.r, keyed), pick(s.r, unkeyed)
	raise := "raise exception 'on purpose';"
	if s.r.IntN(2) == 0 {
		raise = "insert into public.plain (id) values (1), (1);"
	}
	return one(sh.table, fmt.Sprintf(`do $block$ begin
  %s;
  begin
    %s;
    %s
  exception when raise_exception or unique_violation or foreign_key_violation then
    %s;
  end;
end $block$`, sh.upsert(s.r, hot(s.r)), pick(s.r, keyed).upsert(s.r, hot(s.r)), raise, other.insert(s.r, 1)))
}

var prefixes = []string{"", "load", "tidemark", "a.b *>", "it's", "😀"}

// emit is a call that writes a logical message.
func emit(r *rand.Rand, transactional bool) string {
	content := literal(text(r)) + "::text"
	switch r.IntN(5) {
	case 0:
		content = literal(blobs(r)) + "::bytea"
	case 1:
		content = "repeat('long ', 20000)"
	}
	return fmt.Sprintf("select pg_logical_emit_message(%t, %s, %s)", transactional, literal(of(pick(r, prefixes))), content)
}

func (s *session) message() []step {
	steps := s.something()
	steps = append(steps, step{sql: emit(s.r, true)}, step{sql: emit(s.r, s.r.IntN(2) == 0)})
	return append(steps, step{sql: "savepoint m"}, step{sql: emit(s.r, true)}, step{sql: "rollback to savepoint m"})
}
