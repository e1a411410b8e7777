package segment

import (
	"bytes"
	"crypto/sha256"
	"encoding"
	"hash"
	"slices"

	"tidemark/internal/position"
)

// The footer's index: one entry per indexSpacing bytes, at most indexMax entries.
const (
	indexSpacing = 256 << 10
	indexMax     = 4096
)

// ledger is everything that is known of the frames of a segment so far: what a Writer needs in order to go on, and what
// the footer says. A Writer keeps one, and reading a segment builds the same one again.
type ledger struct {
	order order
	size  int64 // bytes so far, header included
	hash  hash.Hash
	// latest is the payload of each relation's latest definition.
	latest  map[uint32][]byte
	totals  Footer // without Relations
	time    position.Time
	timed   bool // a commit was seen, not only frontiers
	rows    map[uint32]*RelationRows
	pending []Rows // of the open transaction
	spacing int64
	mark    mark
}

// mark is the end of the last complete transaction, kept while anything stands behind it.
type mark struct {
	set         bool
	size        int64
	hash        []byte
	order       order
	definitions int
	undo        []Define // what latest held before, nil payload for nothing; newest last
}

func newLedger(h Header, block []byte) *ledger {
	l := &ledger{
		order: order{last: h.After}, size: int64(len(block)), hash: sha256.New(), latest: map[uint32][]byte{},
		rows: map[uint32]*RelationRows{}, spacing: indexSpacing,
	}
	l.totals.Last = h.After
	l.hash.Write(block)
	return l
}

// add takes in a frame that stands in the file. next is the order behind it, encoded its bytes.
func (l *ledger) add(f *Frame, next order, encoded ...[]byte) {
	l.begin()
	if f.Kind == Definition {
		l.define(f.Relation, f.Payload)
	}
	l.order = next
	for _, b := range encoded {
		l.hash.Write(b)
		l.size += int64(len(b))
	}
	if f.Kind != Part {
		return
	}
	l.pending = append(l.pending, f.Meta...)
	if f.Last {
		l.commit(f)
	}
}

func (l *ledger) begin() {
	if l.mark.set {
		return
	}
	m := &l.mark
	m.set, m.size, m.order, m.definitions, m.undo = true, l.size, l.order, len(l.totals.Definitions), m.undo[:0]
	// crypto/sha256 says that its hashes can be marshalled; there is no error that it could return.
	m.hash, _ = l.hash.(encoding.BinaryAppender).AppendBinary(m.hash[:0])
}

func (l *ledger) define(relation uint32, payload []byte) {
	old := l.latest[relation]
	l.mark.undo = append(l.mark.undo, Define{Relation: relation, Payload: old})
	l.latest[relation] = bytes.Clone(payload)
	l.totals.Definitions = append(l.totals.Definitions, l.size)
}

// commit makes the open transaction part of the totals.
func (l *ledger) commit(f *Frame) {
	t := &l.totals
	l.index(IndexEntry{Place: l.mark.size, After: t.Last, MaxTimeBefore: t.MaxTime})
	if !f.IsFrontier() {
		l.committed(f.Time)
	}
	t.Last = f.End
	t.Transactions++
	t.Rows += uint64(f.Ordinal) + uint64(f.Count)
	for _, r := range l.pending {
		sum := l.rows[r.Relation]
		if sum == nil {
			sum = &RelationRows{Relation: r.Relation}
			l.rows[r.Relation] = sum
		}
		sum.Inserts += uint64(r.Inserts)
		sum.Updates += uint64(r.Updates)
		sum.Deletes += uint64(r.Deletes)
		sum.Truncates += uint64(r.Truncates)
	}
	l.pending, l.mark.set = l.pending[:0], false
}

func (l *ledger) committed(at position.Time) {
	t := &l.totals
	if !l.timed {
		t.MinTime, t.MaxTime, l.timed = at, at, true
	}
	t.MinTime, t.MaxTime, l.time = min(t.MinTime, at), max(t.MaxTime, at), at
}

func (l *ledger) index(e IndexEntry) {
	t := &l.totals
	if n := len(t.Index); n > 0 && e.Place < t.Index[n-1].Place+l.spacing {
		return
	}
	if len(t.Index) == indexMax {
		thin := make([]IndexEntry, 0, indexMax)
		for i := 0; i < indexMax; i += 2 {
			thin = append(thin, t.Index[i])
		}
		t.Index, l.spacing = thin, l.spacing*2
		l.index(e)
		return
	}
	t.Index = append(t.Index, e)
}

// rollback forgets everything behind the last complete transaction.
func (l *ledger) rollback() error {
	m := &l.mark
	if !m.set {
		return nil
	}
	if err := l.hash.(encoding.BinaryUnmarshaler).UnmarshalBinary(m.hash); err != nil {
		return err
	}
	for i := len(m.undo) - 1; i >= 0; i-- {
		if u := m.undo[i]; u.Payload == nil {
			delete(l.latest, u.Relation)
		} else {
			l.latest[u.Relation] = u.Payload
		}
	}
	l.size, l.order, l.totals.Definitions = m.size, m.order, l.totals.Definitions[:m.definitions]
	l.pending, m.set = l.pending[:0], false
	return nil
}

// complete is the place where the last complete transaction ends.
func (l *ledger) complete() int64 {
	if l.mark.set {
		return l.mark.size
	}
	return l.size
}

// footer is what a seal at this place says.
func (l *ledger) footer() Footer {
	f := l.totals
	f.Index, f.Definitions = slices.Clone(f.Index), slices.Clone(f.Definitions)
	f.Digest = Digest(l.hash.Sum(nil))
	for _, r := range l.rows {
		f.Relations = append(f.Relations, *r)
	}
	slices.SortFunc(f.Relations, func(a, b RelationRows) int { return int(int64(a.Relation) - int64(b.Relation)) })
	return f
}
