package fold

import (
	"errors"
	"fmt"
	"strconv"
)

// What a change that does not fit the rows is told. They name no value.
var (
	ErrNoTable = errors.New("there is no such table")
	ErrNoRow   = errors.New("there is no such row")
	ErrExists  = errors.New("there is such a row already")
	ErrShape   = errors.New("the change does not fit the table")
)

// State is the rows of every table after some prefix of commit order. It is for one goroutine.
type State struct {
	tables map[string]*content
	watch  func(step Step, table, key string, hash uint64)
}

// Step is what happens to one row of a table, or to all of them.
type Step byte

// The steps. An update is a row that goes and one that comes.
const (
	Comes Step = iota
	Goes
	AllGo
)

// Watch has every step told, in order. The key is as in Rows; empty for a table without one, and when all rows go.
func (s *State) Watch(tell func(step Step, table, key string, hash uint64)) { s.watch = tell }

func (t *content) tell(step Step, key string, hash uint64) {
	if t.state.watch == nil {
		return
	}
	if t.Identity != Keyed {
		key = ""
	}
	t.state.watch(step, t.String(), key, hash)
}

type content struct {
	Table
	state *State
	sum   Sum
	rows  map[string]*row // by key; without a key by the whole row
}

type row struct {
	values []Value
	hash   uint64
	copies int // more than one only without a key
}

// NewState begins with empty tables.
func NewState(tables []Table) *State {
	s := &State{tables: map[string]*content{}}
	for _, t := range tables {
		s.tables[t.String()] = &content{Table: t, state: s, rows: map[string]*row{}}
	}
	return s
}

// Sum returns a table's sum; zero for a table that is not there.
func (s *State) Sum(table string) Sum {
	if t, ok := s.tables[table]; ok {
		return t.sum
	}
	return Sum{}
}

// Rows returns each row's hash by its key. Without a key it is by the hash itself and the number of the copy.
func (s *State) Rows(table string) map[string]uint64 {
	out := map[string]uint64{}
	t, ok := s.tables[table]
	if !ok {
		return out
	}
	for key, r := range t.rows {
		if t.Identity == Keyed {
			out[key] = r.hash
			continue
		}
		for i := range r.copies {
			out[CopyKey(r.hash, i)] = r.hash
		}
	}
	return out
}

// CopyKey names a copy of a row that has no key.
func CopyKey(hash uint64, copy int) string {
	return strconv.FormatUint(hash, 16) + "#" + strconv.Itoa(copy)
}

// Apply folds a transaction in and returns the tables that it touched. After an error the state is worth nothing.
func (s *State) Apply(tx Transaction) ([]string, error) {
	var touched []string
	seen := map[string]bool{}
	for i, c := range tx.Changes {
		t, ok := s.tables[c.Table]
		if !ok {
			return nil, fmt.Errorf("change %d of %s: %s of %s: %w", i, tx.End, c.Op, c.Table, ErrNoTable)
		}
		if err := t.apply(c); err != nil {
			return nil, fmt.Errorf("change %d of %s: %s of %s: %w", i, tx.End, c.Op, c.Table, err)
		}
		if !seen[c.Table] {
			seen[c.Table] = true
			touched = append(touched, c.Table)
		}
	}
	return touched, nil
}

func (t *content) apply(c Change) error {
	switch c.Op {
	case Truncate:
		t.rows, t.sum = map[string]*row{}, Sum{}
		t.tell(AllGo, "", 0)
		return nil
	case Insert:
		return t.put(c.New, nil, c.Unchanged)
	case Delete:
		_, err := t.take(c)
		return err
	}
	old, err := t.take(c)
	if err != nil {
		return err
	}
	return t.put(c.New, old, c.Unchanged)
}

// take removes the row that a change concerns and returns its values.
func (t *content) take(c Change) ([]Value, error) {
	find := c.Old
	if find == nil && c.Op == Update && t.Identity == Keyed {
		find = c.New
	}
	if len(find) != len(t.Columns) || t.Identity == None {
		return nil, ErrShape
	}
	for _, k := range t.Key {
		if c.Old != nil && !c.OldSet[k] {
			return nil, fmt.Errorf("a key column is missing: %w", ErrShape)
		}
	}
	key := Canonical(find, t.Key...)
	r, ok := t.rows[key]
	if !ok {
		return nil, ErrNoRow
	}
	t.sum.remove(r.hash)
	t.tell(Goes, key, r.hash)
	if r.copies--; r.copies == 0 {
		delete(t.rows, key)
	}
	return r.values, nil
}

func (t *content) put(values, old []Value, unchanged []bool) error {
	if len(values) != len(t.Columns) {
		return ErrShape
	}
	values = append([]Value(nil), values...)
	for i, keep := range unchanged {
		switch {
		case keep && old == nil:
			return fmt.Errorf("an unchanged column without a row before: %w", ErrShape)
		case keep:
			values[i] = old[i]
		}
	}
	key, hash := Canonical(values, t.Key...), Hash(Canonical(values))
	r, ok := t.rows[key]
	if ok && t.Identity == Keyed {
		return ErrExists
	}
	if !ok {
		r = &row{values: values, hash: hash}
		t.rows[key] = r
	}
	r.copies++
	t.sum.add(hash)
	t.tell(Comes, key, hash)
	return nil
}
