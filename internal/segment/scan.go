package segment

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"tidemark/internal/position"
)

// Scan is what walking a whole segment found.
type Scan struct {
	Header Header
	// Totals is what the footer says of a closed segment, and what it would say otherwise.
	Totals Footer
	// LastTime is the commit time of the last complete transaction, 0 for none.
	LastTime position.Time
	// Sealed is set for a closed segment, Chain is then the digest by which the next segment names this one.
	Sealed bool
	Chain  Digest
	// Complete is the place in bytes where the last complete transaction ends.
	Complete int64
	// Size is the place behind the last valid frame.
	Size int64
	// Stop says why reading ended before the end of the file, nil if it did not.
	Stop *CorruptionError

	ledger *ledger
}

// Walk reads r from its beginning to its end, checks everything, and calls each, unless it is nil, with every frame.
// Damage is no error here: it is in Stop. What closes a segment must agree with what stands in it.
func Walk(r *Reader, each func(*Frame) error) (*Scan, error) {
	l := newLedger(r.header, r.block)
	for {
		f, err := r.Next()
		if err != nil {
			return finish(r, l, err)
		}
		if reason := l.undefined(&f); reason != "" {
			place := r.place - int64(len(r.raw))
			return finish(r, l, &CorruptionError{Name: r.name, Position: place, Reason: reason})
		}
		l.add(&f, r.order, r.raw)
		if each == nil {
			continue
		}
		if err := each(&f); err != nil {
			return nil, err
		}
	}
}

// undefined says which relation of a part has no definition before it.
func (l *ledger) undefined(f *Frame) string {
	for _, m := range f.Meta {
		if _, ok := l.latest[m.Relation]; !ok {
			return fmt.Sprintf("part with rows of relation %d, which is not defined before", m.Relation)
		}
	}
	return ""
}

// finish makes the Scan of a walk that ended with err.
func finish(r *Reader, l *ledger, err error) (*Scan, error) {
	s := &Scan{Header: r.header, LastTime: l.time, ledger: l}
	if !errors.Is(err, io.EOF) && !errors.As(err, &s.Stop) {
		return nil, err
	}
	s.Totals = l.footer()
	if footer, ok := r.Footer(); ok && s.Stop == nil {
		seal := Frame{Kind: Seal}
		if reason := disagree(footer, s.Totals); reason != "" {
			s.Stop = &CorruptionError{Name: r.name, Position: l.size, Reason: reason}
		} else {
			l.add(&seal, r.order, r.raw)
			s.Sealed, s.Chain = true, Digest(l.hash.Sum(nil))
		}
	}
	s.Complete, s.Size = l.complete(), l.size
	return s, nil
}

// disagree says in what a footer differs from what was counted.
func disagree(footer, counted Footer) string {
	switch {
	case footer.Digest != counted.Digest:
		return "digest in the footer differs from the bytes before it"
	case footer.Last != counted.Last || footer.Transactions != counted.Transactions || footer.Rows != counted.Rows:
		return "footer differs in its transactions"
	case footer.MinTime != counted.MinTime || footer.MaxTime != counted.MaxTime:
		return "footer differs in its times"
	case !slices.Equal(footer.Index, counted.Index) || !slices.Equal(footer.Definitions, counted.Definitions):
		return "footer differs in its index"
	case !slices.Equal(footer.Relations, counted.Relations):
		return "footer differs in its rows per relation"
	}
	return ""
}

// Verify reads r from its beginning and returns a *CorruptionError unless it is a closed segment, good to the last byte.
func Verify(r *Reader) (*Scan, error) {
	s, err := Walk(r, nil)
	switch {
	case err != nil:
		return nil, err
	case s.Stop != nil:
		return s, s.Stop
	case !s.Sealed:
		return s, &CorruptionError{Name: r.name, Position: s.Size, Reason: "segment ends without a seal"}
	}
	return s, nil
}

// Resume returns a Writer that goes on behind the last complete transaction of a segment that is not sealed. The
// caller has cut the file to Complete; w writes there.
func (s *Scan) Resume(w io.Writer) (*Writer, error) {
	if s.Sealed {
		return nil, invalid("resume segment %d, which is sealed", s.Header.Sequence)
	}
	if err := s.ledger.rollback(); err != nil {
		return nil, fmt.Errorf("resume segment %d: %w", s.Header.Sequence, err)
	}
	return &Writer{w: w, seed: seedOf(s.Header.Nonce), header: s.Header, ledger: s.ledger}, nil
}
