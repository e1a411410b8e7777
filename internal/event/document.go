package event

import (
	"fmt"

	"tidemark/internal/change"
	"tidemark/internal/planted"
)

var errKeyUnchanged = fmt.Errorf("%w: it belongs to the key and was not sent", ErrUnencodable)

// document appends key, before, after and unchanged.
func (e *Encoder) document(b []byte, s *shape, row change.Row) ([]byte, error) {
	current := row.New
	if row.Op == change.Delete {
		current = row.Old
	}
	b, err := e.key(b, s, row, current)
	if err != nil {
		return b, err
	}
	if b, err = e.before(append(b, `,"before":`...), s, row); err != nil {
		return b, err
	}
	return e.after(append(b, `,"after":`...), s, row)
}

// key appends the key of the row as it is after the change, or was before a delete.
func (e *Encoder) key(b []byte, s *shape, row change.Row, current []change.Value) ([]byte, error) {
	if s.whole {
		return append(b, "{}"...), nil
	}
	b = append(b, '{')
	first := len(b)
	for i := range s.columns {
		if !s.columns[i].key {
			continue
		}
		v := resolve(row, current, i, s)
		if v.Kind == change.Unchanged {
			return b, columnError(row, i, errKeyUnchanged)
		}
		var err error
		if b, err = e.field(b, first, s, row, i, v); err != nil {
			return b, err
		}
	}
	return append(b, '}'), nil
}

// before appends what is known of the old tuple, or null when none was sent.
func (e *Encoder) before(b []byte, s *shape, row change.Row) ([]byte, error) {
	if row.Old == nil {
		return append(b, "null"...), nil
	}
	b = append(b, '{')
	first := len(b)
	for i, v := range row.Old {
		if row.OldKey && !s.columns[i].key || v.Kind == change.Unchanged {
			continue
		}
		var err error
		if b, err = e.field(b, first, s, row, i, v); err != nil {
			return b, err
		}
	}
	return append(b, '}'), nil
}

// after appends the new tuple without its unchanged values, and the names of those behind it.
func (e *Encoder) after(b []byte, s *shape, row change.Row) ([]byte, error) {
	if row.New == nil {
		return append(b, `null,"unchanged":[]`...), nil
	}
	b = append(b, '{')
	first, unchanged := len(b), 0
	for i := range row.New {
		v := resolve(row, row.New, i, s)
		if planted.Is(planted.ToastNullEvent) && v.Kind == change.Unchanged {
			v.Kind = change.Null
		}
		if v.Kind == change.Unchanged {
			unchanged++
			continue
		}
		var err error
		if b, err = e.field(b, first, s, row, i, v); err != nil {
			return b, err
		}
	}
	b = append(b, `},"unchanged":[`...)
	for i := range row.New {
		if unchanged == 0 {
			break
		}
		if resolve(row, row.New, i, s).Kind != change.Unchanged {
			continue
		}
		name := s.columns[i].name
		b = append(b, name[:len(name)-1]...)
		if unchanged--; unchanged > 0 {
			b = append(b, ',')
		}
	}
	return append(b, ']'), nil
}

// field appends a column's name and value, with a comma where it is not the first.
func (e *Encoder) field(b []byte, first int, s *shape, row change.Row, i int, v change.Value) ([]byte, error) {
	if len(b) > first {
		b = append(b, ',')
	}
	b, err := appendValue(append(b, s.columns[i].name...), v, s.columns[i].form, &e.scratch)
	if err != nil {
		return b, columnError(row, i, err)
	}
	return b, nil
}

// resolve gives a value of a tuple, taking an unchanged TOAST value of the new one from the old one where that has it.
func resolve(row change.Row, tuple []change.Value, i int, s *shape) change.Value {
	v := tuple[i]
	if v.Kind == change.Unchanged && row.Old != nil && (!row.OldKey || s.columns[i].key) {
		return row.Old[i]
	}
	return v
}

func columnError(row change.Row, i int, err error) error {
	return fmt.Errorf("column %q: %w", row.Relation.Columns[i].Name, err)
}
