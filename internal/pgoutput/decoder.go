package pgoutput

import (
	"fmt"
	"iter"

	"tidemark/internal/change"
	"tidemark/internal/segment"
)

// Decoder turns frames into rows. It remembers relations, so it must see every definition frame before the parts
// behind it, in the order of the segment. One goroutine at a time may use it.
type Decoder struct {
	relations map[uint32]*change.Relation

	// Reused from row to row.
	old, new  []change.Value
	truncated []*change.Relation
	ids       []uint32
}

// NewDecoder returns a decoder that knows no relation.
func NewDecoder() *Decoder {
	// The slices are never nil: a nil tuple means that none was sent, and a row of no columns has an empty one.
	return &Decoder{relations: map[uint32]*change.Relation{}, old: []change.Value{}, new: []change.Value{}}
}

// Define learns the payload of a definition frame: type messages, then one relation message. It replaces what was known
// of that relation; a definition equal to the known one keeps the known Relation value, so that pointers stay equal. It
// keeps no reference to the payload.
func (d *Decoder) Define(payload []byte) error {
	rel, err := parseDefinition(payload)
	if err != nil {
		return fmt.Errorf("read definition: %w", err)
	}
	if known, ok := d.relations[rel.ID]; ok && known.Fingerprint == rel.Fingerprint {
		return nil
	}
	d.relations[rel.ID] = rel
	return nil
}

// Relation gives the latest definition of a relation.
func (d *Decoder) Relation(id uint32) (*change.Relation, bool) {
	rel, ok := d.relations[id]
	return rel, ok
}

// Rows gives the changes of a part frame in order. Ordinals count on from f.Ordinal; a truncate of n relations takes
// n. The slices of a Row are reused for the next one and its values alias f.Payload: who keeps a Row clones it.
//
// The walk ends with the first error: a message that does not parse, a relation that was not defined, a tuple whose
// number of columns is not the relation's, or a number of changes that is not f.Count. An error leaves the decoder
// usable, but the transaction must not be used.
func (d *Decoder) Rows(f *segment.Frame) iter.Seq2[change.Row, error] {
	return func(yield func(change.Row, error) bool) {
		next, end := uint64(f.Ordinal), uint64(f.Ordinal)+uint64(f.Count)
		for msg, err := range segment.Messages(f.Payload) {
			if err != nil {
				yield(change.Row{}, fmt.Errorf("decode change %d: %w", next, err))
				return
			}
			row, n, err := d.decode(msg)
			if err == nil && next+n > end {
				err = fmt.Errorf("%w: the part holds more than its %d changes", ErrMalformed, f.Count)
			}
			if err != nil {
				yield(change.Row{}, fmt.Errorf("decode change %d: %w", next, err))
				return
			}
			if n == 0 {
				continue
			}
			row.Ordinal = uint32(next)
			next += n
			if !yield(row, nil) {
				return
			}
		}
		if next != end {
			yield(change.Row{}, fmt.Errorf("decode part: %w: it ends at change %d and should end at %d", ErrMalformed, next, end))
		}
	}
}

// decode reads one message of a part. n is the number of changes in it, 0 for an origin message.
func (d *Decoder) decode(msg []byte) (row change.Row, n uint64, err error) {
	switch msg[0] {
	case KindInsert, KindUpdate, KindDelete:
		row, err = d.row(msg)
		return row, 1, err
	case KindTruncate:
		row, err = d.truncate(msg)
		return row, uint64(len(row.Truncated)), err
	case KindOrigin:
		_, err = parseOrigin(msg)
		return change.Row{}, 0, err
	}
	return change.Row{}, 0, errKind
}

func (d *Decoder) row(msg []byte) (change.Row, error) {
	t, err := parseRow(msg, d.old[:0], d.new[:0])
	d.old, d.new = t.old, t.new
	if err != nil {
		return change.Row{}, err
	}
	rel, ok := d.relations[t.relation]
	if !ok {
		return change.Row{}, fmt.Errorf("%s of relation %d, which was not defined", t.op, t.relation)
	}
	row := change.Row{Op: t.op, Relation: rel, OldKey: t.oldMark == markKey}
	if t.oldMark != 0 {
		row.Old = t.old
		if len(t.old) != len(rel.Columns) {
			return change.Row{}, countError(t.op, rel, len(t.old))
		}
	}
	if t.op != change.Delete {
		row.New = t.new
		if len(t.new) != len(rel.Columns) {
			return change.Row{}, countError(t.op, rel, len(t.new))
		}
	}
	return row, nil
}

func countError(op change.Op, rel *change.Relation, n int) error {
	return fmt.Errorf("%s of %s has %d columns and its relation has %d", op, rel, n, len(rel.Columns))
}

func (d *Decoder) truncate(msg []byte) (change.Row, error) {
	options, ids, err := parseTruncate(msg, d.ids[:0])
	d.ids = ids
	if err != nil {
		return change.Row{}, err
	}
	d.truncated = d.truncated[:0]
	for _, id := range ids {
		rel, ok := d.relations[id]
		if !ok {
			return change.Row{}, fmt.Errorf("truncate of relation %d, which was not defined", id)
		}
		d.truncated = append(d.truncated, rel)
	}
	return change.Row{
		Op: change.Truncate, Truncated: d.truncated,
		Cascade: options&truncateCascade != 0, RestartIdentity: options&truncateRestartIdentity != 0,
	}, nil
}
