package check

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"tidemark/integration/checker/fold"
)

// row is a row's message that waits for its transaction's end marker.
type row struct {
	change        fold.Change
	schema, table string
	xid           uint32
	commit        string
	rows          uint32
}

// shape is a table as documents name its parts.
type shape struct {
	fold.Table
	index map[string]int // of each column
	types []string       // of each column; a domain's base type
}

func shapesOf(tables []fold.Table, bases map[string]string) map[string]*shape {
	out := map[string]*shape{}
	for _, t := range tables {
		s := &shape{Table: t, index: map[string]int{}}
		for i, c := range t.Columns {
			s.index[c.Name] = i
			typ := c.Type
			for bases[typ] != "" {
				typ = bases[typ]
			}
			s.types = append(s.types, typ)
		}
		out[t.String()] = s
	}
	return out
}

// change reads a row's document. Errors name columns, never values.
func (s *Stream) change(d *document) (fold.Change, error) {
	c := fold.Change{Table: d.name()}
	t, ok := s.shapes[c.Table]
	if !ok {
		return c, errors.New("there is no such table")
	}
	var err error
	switch d.Op {
	case "insert":
		c.Op = fold.Insert
		if d.Before != nil || len(d.Unchanged) > 0 {
			return c, errors.New("an insert has nothing before")
		}
		err = t.after(&c, d)
	case "update":
		c.Op = fold.Update
		if err = t.after(&c, d); err == nil {
			err = t.before(&c, d)
		}
	case "delete":
		c.Op = fold.Delete
		if d.After != nil || len(d.Unchanged) > 0 || d.Before == nil {
			return c, errors.New("a delete has the row before and nothing after")
		}
		err = t.before(&c, d)
	case "truncate":
		c.Op = fold.Truncate
		if d.Before != nil || d.After != nil || len(d.Key)+len(d.Unchanged) > 0 {
			return c, errors.New("a truncate has no rows")
		}
		return c, nil
	default:
		return c, errors.New("there is no such operation")
	}
	if err != nil {
		return c, err
	}
	return c, t.key(&c, d)
}

// after reads the new row: every column is there, or is named as unchanged.
func (t *shape) after(c *fold.Change, d *document) error {
	if d.After == nil {
		return errors.New("there is no row after the change")
	}
	values, set, err := t.values(d.After)
	if err != nil {
		return fmt.Errorf("after: %w", err)
	}
	c.New = values
	if len(d.Unchanged) > 0 {
		c.Unchanged = make([]bool, len(t.Columns))
	}
	for _, name := range d.Unchanged {
		i, ok := t.index[name]
		switch {
		case !ok:
			return fmt.Errorf("there is no column %q that could be unchanged", name)
		case set[i] || c.Unchanged[i]:
			return fmt.Errorf("column %q is unchanged and there as well", name)
		}
		c.Unchanged[i] = true
	}
	for i, col := range t.Columns {
		if !set[i] && (c.Unchanged == nil || !c.Unchanged[i]) {
			return fmt.Errorf("column %q is missing after the change", col.Name)
		}
	}
	return nil
}

// before reads the old row, if it was sent: whole, or the key only.
func (t *shape) before(c *fold.Change, d *document) error {
	if d.Before == nil {
		if t.Identity != fold.Keyed {
			return errors.New("there is no row before the change")
		}
		return nil
	}
	values, set, err := t.values(d.Before)
	if err != nil {
		return fmt.Errorf("before: %w", err)
	}
	whole := len(d.Before) == len(t.Columns)
	for i, col := range t.Columns {
		isKey := slices.Contains(t.Key, i)
		if isKey && !set[i] || !isKey && set[i] && !whole || t.Identity == fold.Full && !set[i] {
			return fmt.Errorf("column %q is missing before the change, or is there without the others", col.Name)
		}
	}
	c.Old, c.OldSet = values, set
	return nil
}

// key compares the document's key with its row. It is empty where the source does not tell one: then the row is whole, and
// an insert is believed.
func (t *shape) key(c *fold.Change, d *document) error {
	row := d.After
	if c.Op == fold.Delete {
		row = d.Before
	}
	if len(d.Key) == 0 {
		if t.Identity == fold.Keyed && c.Op != fold.Insert && len(d.Before) != len(t.Columns) {
			return errors.New("the key is missing")
		}
		return nil
	}
	if len(d.Key) != len(t.Key) {
		return fmt.Errorf("the key has %d columns, not %d", len(d.Key), len(t.Key))
	}
	for _, k := range t.Key {
		name := t.Columns[k].Name
		raw, ok := d.Key[name]
		if !ok || !bytes.Equal(raw, row[name]) {
			return fmt.Errorf("column %q of the key is missing or not the row's", name)
		}
	}
	return nil
}

// values reads a row's columns; set says which are there.
func (t *shape) values(from map[string]json.RawMessage) (values []fold.Value, set []bool, err error) {
	values, set = make([]fold.Value, len(t.Columns)), make([]bool, len(t.Columns))
	for name, raw := range from {
		i, ok := t.index[name]
		if !ok {
			return nil, nil, fmt.Errorf("there is no column %q", name)
		}
		if values[i], err = value(raw, t.types[i]); err != nil {
			return nil, nil, fmt.Errorf("column %q: %w", name, err)
		}
		set[i] = true
	}
	return values, set, nil
}
