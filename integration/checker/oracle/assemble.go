package oracle

import (
	"errors"
	"fmt"

	"tidemark/internal/position"

	"tidemark/integration/checker/fold"
)

// What a stream of messages may not do.
var (
	errOrder  = errors.New("a message stands where none may")
	errColumn = errors.New("a column is missing")
)

// assembler makes transactions of messages. A new connection needs a new one.
type assembler struct {
	tables map[string]*layout
	tx     *fold.Transaction // open, or nil
}

type layout struct {
	fold.Table
	name  string
	index map[string]int // of columns by name
}

func newAssembler(tables []fold.Table) *assembler {
	a := &assembler{tables: map[string]*layout{}}
	for _, t := range tables {
		l := &layout{Table: t, name: t.String(), index: map[string]int{}}
		for i, c := range t.Columns {
			l.index[c.Name] = i
		}
		a.tables[l.name] = l
	}
	return a
}

// add takes a message. At a COMMIT it returns the transaction.
func (a *assembler) add(at position.LSN, text string) (*fold.Transaction, error) {
	l, err := parse(text)
	if err != nil {
		return nil, err
	}
	switch {
	case l.kind == message:
		return nil, nil
	case (l.kind == begin) != (a.tx == nil):
		return nil, errOrder
	case l.kind == begin:
		a.tx = &fold.Transaction{XID: l.xid}
	case l.kind == commit:
		tx := a.tx
		if tx.XID != l.xid {
			return nil, fmt.Errorf("%w: commit of transaction %d in %d", errOrder, l.xid, tx.XID)
		}
		tx.End, tx.Commit, a.tx = at, l.time, nil
		return tx, nil
	default:
		return nil, a.change(l)
	}
	return nil, nil
}

// change appends what a message changes in tables of the model. A truncation names parents and children alike.
func (a *assembler) change(l line) error {
	for _, n := range l.tables {
		t, ok := a.tables[n.String()]
		if ok || n.schema == "tidemark" {
			a.tx.Published = true
		}
		switch {
		case !ok:
		case l.kind == truncate:
			a.tx.Changes = append(a.tx.Changes, fold.Change{Op: fold.Truncate, Table: t.name})
		default:
			c, err := t.change(l)
			if err != nil {
				return fmt.Errorf("read %s of %s, change %d of transaction %d: %w", l.op, t, len(a.tx.Changes), a.tx.XID, err)
			}
			a.tx.Changes = append(a.tx.Changes, c)
		}
	}
	return nil
}

func (t *layout) change(l line) (fold.Change, error) {
	c := fold.Change{Op: l.op, Table: t.name}
	before, after, err := l.tuples()
	if err != nil {
		return c, err
	}
	if before.there {
		if err := t.old(&c, before); err != nil {
			return c, err
		}
	}
	if after.there {
		return c, t.new(&c, after)
	}
	if l.op != fold.Delete {
		return c, fmt.Errorf("there is no new tuple: %w", errText)
	}
	return c, nil
}

// old fills in the row before. The message leaves NULL out, so under FULL a column that is not there is NULL and known; of a keyed
// table only the key is said to be known, even if FULL told more.
func (t *layout) old(c *fold.Change, row tuple) error {
	c.Old, c.OldSet = make([]fold.Value, len(t.Columns)), make([]bool, len(t.Columns))
	for _, f := range row.fields {
		if f.unchanged {
			return fmt.Errorf("the old tuple has a value that is not sent: %w", errText)
		}
		if i, ok := t.index[f.name]; ok {
			c.Old[i] = f.value
		}
	}
	for i := range c.OldSet {
		c.OldSet[i] = t.Identity == fold.Full
	}
	for _, i := range t.Key {
		c.OldSet[i] = c.Old[i] != nil
	}
	return nil
}

// new fills in the row after, in which every column must be. Stored generated columns are there too, and in no model.
func (t *layout) new(c *fold.Change, row tuple) error {
	c.New = make([]fold.Value, len(t.Columns))
	seen, n := make([]bool, len(t.Columns)), 0
	for _, f := range row.fields {
		i, ok := t.index[f.name]
		if !ok {
			continue
		}
		if !seen[i] {
			seen[i] = true
			n++
		}
		c.New[i] = f.value
		if f.unchanged {
			if c.Unchanged == nil {
				c.Unchanged = make([]bool, len(t.Columns))
			}
			c.Unchanged[i] = true
		}
	}
	if n != len(t.Columns) {
		return fmt.Errorf("%d of %d: %w", len(t.Columns)-n, len(t.Columns), errColumn)
	}
	return nil
}
