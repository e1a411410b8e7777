package pgoutput

import (
	"fmt"

	"tidemark/internal/change"
)

// The marks in front of a tuple.
const (
	markKey byte = 'K' // old tuple, replica identity columns only
	markOld byte = 'O' // old tuple, complete
	markNew byte = 'N'
)

// rowMessage is an insert, update or delete.
type rowMessage struct {
	op       change.Op
	relation uint32
	// oldMark is markKey, markOld, or 0 when there is no old tuple.
	oldMark  byte
	old, new []change.Value
}

// parseRow reads an insert, update or delete message, appending its values to old and new. On error it still returns
// the slices, for reuse.
func parseRow(msg []byte, old, new []change.Value) (rowMessage, error) {
	m := rowMessage{old: old, new: new}
	r := reader{err: errKind}
	if len(msg) > 0 {
		r = reader{rest: msg[1:]}
	}
	m.relation = r.u32()
	switch mark := r.u8(); {
	case r.err != nil:
	case msg[0] == KindInsert:
		m.op = change.Insert
		m.newTuple(&r, mark)
	case msg[0] == KindUpdate:
		m.op = change.Update
		if mark != markNew {
			m.oldTuple(&r, mark)
			mark = r.u8()
		}
		m.newTuple(&r, mark)
	case msg[0] == KindDelete:
		m.op = change.Delete
		m.oldTuple(&r, mark)
	default:
		r.fail(errKind)
	}
	if err := r.end(); err != nil {
		return m, fmt.Errorf("parse row: %w", err)
	}
	return m, nil
}

func (m *rowMessage) oldTuple(r *reader, mark byte) {
	if mark != markKey && mark != markOld {
		r.fail(errTuple)
	}
	m.oldMark = mark
	m.old = r.tuple(m.old)
}

func (m *rowMessage) newTuple(r *reader, mark byte) {
	if mark != markNew {
		r.fail(errTuple)
	}
	m.new = r.tuple(m.new)
}
