package apply

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"tidemark/internal/change"
	"tidemark/internal/planted"
)

// maxStatements bounds the prepared statements of a session: shapes of rows multiply (which columns are unchanged, which are null).
const maxStatements = 2000

// statement is a prepared statement for rows of one shape.
type statement struct {
	name   string
	params []param
}

// The ways of an update; see doc.go on identity columns.
const (
	plain   = 'p' // UPDATE
	replace = 'r' // DELETE and INSERT: a GENERATED ALWAYS identity value changed
	either  = 'e' // such a value may have changed: the target's row decides
)

var (
	errNoKey     = errors.New("the source sent no replica identity")
	errLost      = errors.New("an unchanged value that is needed is nowhere in the stream (a row filter or a column list on the publication?)")
	errShape     = errors.New("the row has another number of columns than its relation")
	errOperation = errors.New("the operation is unknown")
)

// applyRow sends a change as one statement.
func (a *Applier) applyRow(ctx context.Context, t *target, row change.Row) error {
	s := step{table: t.rel.String(), grant: t.grant, op: row.Op, commit: a.tx.Commit, ordinal: row.Ordinal, want: 1}
	if planted.Is(planted.OldKeyIgnored) {
		s.any = wrongKey(&row)
	}
	if planted.Is(planted.BatchReordered) {
		s.any = row.Op != change.Insert
	}
	if planted.Is(planted.FullDeletesAll) || planted.Is(planted.NullIdentity) {
		s.any = t.key == nil && row.Op != change.Insert
	}
	if err := checkRow(t, &row); err != nil {
		return a.fail(&RowError{Table: s.table, Op: s.op, Commit: s.commit, Ordinal: s.ordinal, Err: err})
	}
	a.start()
	st := a.statement(t, &row, s)
	values, formats, size := bind(st, &row)
	a.pipe.SendQueryPrepared(st.name, values, formats, nil)
	a.expect(s)
	t.note(&row)
	return a.sent(ctx, size)
}

// checkRow refuses a row that no statement can be made for.
func checkRow(t *target, row *change.Row) error {
	if row.Op != change.Insert && row.Op != change.Update && row.Op != change.Delete {
		return errOperation
	}
	if row.Old != nil && len(row.Old) != len(t.columns) || row.Op != change.Delete && len(row.New) != len(t.columns) {
		return errShape
	}
	if row.Op == change.Insert {
		return checkSent(row.New)
	}
	if t.rel.Identity == change.IdentityNothing || t.key == nil && t.rel.Identity != change.IdentityFull {
		return errNoKey
	}
	values, old := identity(row)
	if values == nil || t.rel.Identity == change.IdentityFull && !old {
		return errNoKey
	}
	if t.key == nil {
		return checkSent(values)
	}
	for _, i := range t.key {
		if values[i].Kind == change.Unchanged {
			return errLost
		}
	}
	return nil
}

func checkSent(values []change.Value) error {
	for _, v := range values {
		if v.Kind == change.Unchanged {
			return errLost
		}
	}
	return nil
}

// statement gives the prepared statement for a row's shape, queueing its preparation when it is new.
func (a *Applier) statement(t *target, row *change.Row, s step) *statement {
	way := t.way(row)
	a.key = t.shape(a.key[:0], row, way)
	if st, ok := t.statements[string(a.key)]; ok {
		return st
	}
	b := &a.build
	b.reset(t, row)
	switch {
	case row.Op == change.Insert:
		b.insert()
	case row.Op == change.Delete:
		b.put("delete from ", t.only, t.table, " where ")
		b.where()
	case way == plain:
		b.update()
	case way == replace:
		b.replace()
	default:
		b.either()
	}
	a.names++
	st := &statement{name: "tidemark_" + strconv.Itoa(a.names), params: b.params}
	t.statements[string(a.key)] = st
	a.pipe.SendPrepare(st.name, b.String(), b.oids)
	s.prepare = true
	a.expect(s)
	return st
}

// shape appends what the text of a row's statement depends on.
func (t *target) shape(key []byte, row *change.Row, way byte) []byte {
	key = append(key, byte(row.Op), way)
	if row.Op == change.Insert {
		return key
	}
	values, old := identity(row)
	key = append(key, strconv.FormatBool(old)[0])
	for i := range values {
		c := byte('v')
		if values[i].Kind == change.Null && (t.key == nil || slices.Contains(t.key, i)) { // only what finds the row is compared
			c = 'n'
		}
		if row.Op == change.Update && row.New[i].Kind == change.Unchanged {
			c -= 'a' - 'A'
		}
		key = append(key, c)
	}
	return key
}

// bind gives the parameters of a row. They alias the row, and are on their way when the caller's Send returns.
func bind(st *statement, row *change.Row) (values [][]byte, formats []int16, size int) {
	values, formats = make([][]byte, len(st.params)), make([]int16, len(st.params))
	for i, p := range st.params {
		v := row.New
		if p.old {
			v = row.Old
		}
		switch data := v[p.col].Data; v[p.col].Kind {
		case change.Binary:
			formats[i] = 1
			fallthrough
		case change.Text:
			if data == nil {
				data = []byte{} // nil would be NULL
			}
			values[i] = data
			size += len(data)
		}
	}
	return values, formats, size + 32
}

// way decides how an update is written.
func (t *target) way(row *change.Row) byte {
	if row.Op != change.Update || !t.always {
		return plain
	}
	way := byte(plain)
	for i, c := range t.columns {
		if !c.always || row.New[i].Kind == change.Unchanged {
			continue
		}
		switch known, changed := t.changed(row, i); {
		case changed:
			return replace
		case !known:
			way = either
		}
	}
	return way
}

// changed says whether column i changed, as far as the row tells.
func (t *target) changed(row *change.Row, i int) (known, changed bool) {
	key := t.rel.Columns[i].Key
	if row.Old == nil {
		return key, false // no old tuple: the key is as it was
	}
	if row.OldKey && !key {
		return false, false
	}
	return true, row.Old[i].Kind != row.New[i].Kind || !bytes.Equal(row.Old[i].Data, row.New[i].Data)
}

// placeOf says where a row stands, for messages.
func placeOf(tx Transaction, row *change.Row) string {
	return fmt.Sprintf("commit at %s, ordinal %d", tx.Commit, row.Ordinal)
}
