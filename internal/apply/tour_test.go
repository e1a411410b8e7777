package apply_test

import (
	"testing"

	"tidemark/internal/postgres/pgtest"
)

func TestPlain(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		r := newRig(t, major, "create table a(id int primary key, v text, n numeric(10,2))")
		r.run(t, "insert into a select i, 'v' || i, i / 7.0 from generate_series(1, 1000) i", "update a set v = v || 'x' where id % 3 = 0", "delete from a where id % 5 = 0", "update a set v = null where id = 7")
		r.run(t, "truncate a", "insert into a values (1, '', 'NaN')")
	})
}
