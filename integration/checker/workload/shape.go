package workload

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// shape is a table as the operations see it. Columns are those that are written; the key's come first.
type shape struct {
	table   string // as SQL writes it
	columns []column
	keys    int                   // how many of columns are the key; 0: rows are found by their place
	key     func(id int) []string // the key of an id; nil: the id itself
}

type column struct {
	name  string // as SQL writes it
	gen   gen    // nil for a column of the key
	heavy bool   // an update seldom changes it
}

func (s *shape) names() string {
	var out []string
	for _, c := range s.columns {
		out = append(out, c.name)
	}
	return strings.Join(out, ", ")
}

func (s *shape) keyValues(id int) []value {
	if s.keys == 0 {
		return nil
	}
	if s.key == nil {
		return []value{of(fmt.Sprint(id))}
	}
	var out []value
	for _, k := range s.key(id) {
		out = append(out, of(k))
	}
	return out
}

// row makes the values of a row.
func (s *shape) row(r *rand.Rand, id int) []value {
	out := s.keyValues(id)
	for _, c := range s.columns[s.keys:] {
		out = append(out, c.gen(r))
	}
	return out
}

// where finds the row of an id, or some row of a table without a key.
func (s *shape) where(id int) string {
	if s.keys == 0 {
		return fmt.Sprintf("ctid = (select ctid from %s offset %d limit 1)", s.table, id-1)
	}
	var out []string
	for i, v := range s.keyValues(id) {
		out = append(out, s.columns[i].name+" = "+literal(v))
	}
	return strings.Join(out, " and ")
}

// whereAny finds the rows of several ids.
func (s *shape) whereAny(ids []int) string {
	var out []string
	for _, id := range ids {
		out = append(out, "("+s.where(id)+")")
	}
	return strings.Join(out, " or ")
}

// insert inserts rows of the given ids; without a key the ids only count.
func (s *shape) insert(r *rand.Rand, ids ...int) string {
	if len(s.columns) == 0 {
		return "insert into " + s.table + " default values"
	}
	var rows []string
	for _, id := range ids {
		var values []string
		for _, v := range s.row(r, id) {
			values = append(values, literal(v))
		}
		rows = append(rows, "("+strings.Join(values, ", ")+")")
	}
	return fmt.Sprintf("insert into %s (%s) values %s", s.table, s.names(), strings.Join(rows, ", "))
}

// upsert inserts rows or replaces those that are there. The shape must have a key.
func (s *shape) upsert(r *rand.Rand, ids ...int) string {
	var key, set []string
	for i, c := range s.columns {
		if i < s.keys {
			key = append(key, c.name)
		} else {
			set = append(set, c.name+" = excluded."+c.name)
		}
	}
	return fmt.Sprintf("%s on conflict (%s) do update set %s", s.insert(r, ids...), strings.Join(key, ", "), strings.Join(set, ", "))
}

// copyRows is the text that COPY reads.
func (s *shape) copyRows(r *rand.Rand, ids ...int) (statement string, data []byte) {
	for _, id := range ids {
		for i, v := range s.row(r, id) {
			if i > 0 {
				data = append(data, '\t')
			}
			data = append(data, copyField(v)...)
		}
		data = append(data, '\n')
	}
	return fmt.Sprintf("copy %s (%s) from stdin", s.table, s.names()), data
}

// set assigns new values to one or a few columns outside the key.
func (s *shape) set(r *rand.Rand) string {
	var out []string
	rest := s.columns[s.keys:]
	for range 1 + r.IntN(2)*r.IntN(min(len(rest), 8)) {
		c := rest[r.IntN(len(rest))]
		for try := 0; c.heavy && try < 2; try++ {
			c = rest[r.IntN(len(rest))]
		}
		if assign := c.name + " = "; !strings.Contains("\x00"+strings.Join(out, "\x00"), "\x00"+assign) {
			out = append(out, assign+literal(c.gen(r)))
		}
	}
	return strings.Join(out, ", ")
}

func (s *shape) update(r *rand.Rand, ids ...int) string {
	return fmt.Sprintf("update %s set %s where %s", s.table, s.set(r), s.whereAny(ids))
}

func (s *shape) remove(ids ...int) string {
	return fmt.Sprintf("delete from %s where %s", s.table, s.whereAny(ids))
}

// rekey gives the row of one id the key of another. The shape must have a key.
func (s *shape) rekey(from, to int) string {
	var out []string
	for i, v := range s.keyValues(to) {
		out = append(out, s.columns[i].name+" = "+literal(v))
	}
	return fmt.Sprintf("update %s set %s where %s", s.table, strings.Join(out, ", "), s.where(from))
}
