package segment

import (
	"bytes"
	"fmt"
	"io"

	"tidemark/internal/position"
)

// separate is the payload size from which a payload is written by itself instead of being copied together with its header.
const separate = 64 << 10

// Writer writes one segment. One goroutine uses it.
//
// A failed call changes nothing in the Writer: one that can take partial bytes back from the file (down to Size) may
// repeat the call, every other caller gives the segment up.
type Writer struct {
	w      io.Writer
	seed   uint32
	header Header
	ledger *ledger
	synced uint64
	buf    []byte
}

// NewWriter writes the header to w and returns a Writer for the frames behind it.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	block, err := h.encode()
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(block); err != nil {
		return nil, fmt.Errorf("write segment header: %w", err)
	}
	return &Writer{w: w, seed: seedOf(h.Nonce), header: h, ledger: newLedger(h, block)}, nil
}

// Header is the segment's header.
func (w *Writer) Header() Header { return w.header }

// Size is the segment's size in bytes so far.
func (w *Writer) Size() int64 { return w.ledger.size }

// Complete is the size in bytes up to the end of the last complete transaction.
func (w *Writer) Complete() int64 { return w.ledger.complete() }

// Open reports whether parts of a transaction were written and its last one was not.
func (w *Writer) Open() bool { return w.ledger.order.open }

// Last is the end LSN and commit time of the last complete transaction: Header.After and 0 when there is none.
func (w *Writer) Last() (position.LSN, position.Time) { return w.ledger.totals.Last, w.ledger.time }

// Totals is what the footer would say now, without digest and relations. Its slices are shared: the caller does not
// change them, and does not keep them over the next call.
func (w *Writer) Totals() Footer { return w.ledger.totals }

// SetSynced says how many bytes of the file are known to be fsynced. Frames carry it from now on.
func (w *Writer) SetSynced(n int64) { w.synced = uint64(n) }

// Append writes a part behind those definitions that it needs and this segment does not hold yet. Synced of the frame
// is ignored, and so is End in all but the last part. An error that is ErrInvalid means that the part cannot stand
// here and nothing was written; every other error is w's.
func (w *Writer) Append(a Append) error {
	f := a.Frame
	f.Synced = w.synced
	if !f.Last {
		f.End = 0
	}
	next, err := w.check(&f, a.Defines)
	if err != nil {
		return err
	}
	w.buf = w.buf[:0]
	defines := make([]Frame, 0, 4)
	spans := make([]int, 0, 4)
	for _, d := range a.Defines {
		if bytes.Equal(w.ledger.latest[d.Relation], d.Payload) {
			continue
		}
		def := Frame{Kind: Definition, Relation: d.Relation, Synced: w.synced, Payload: d.Payload}
		if w.buf, err = appendLead(w.buf, &def, w.seed); err != nil {
			return err
		}
		w.buf = pad(append(w.buf, d.Payload...))
		defines, spans = append(defines, def), append(spans, len(w.buf))
	}
	if w.buf, err = appendLead(w.buf, &f, w.seed); err != nil {
		return err
	}
	chunks, err := w.write(f.Payload)
	if err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	from := 0
	for i := range defines {
		w.ledger.add(&defines[i], w.ledger.order, chunks[0][from:spans[i]])
		from = spans[i]
	}
	w.ledger.add(&f, next, chunks[0][from:], chunks[1], chunks[2])
	return nil
}

func (w *Writer) check(f *Frame, defines []Define) (order, error) {
	if f.Kind != Part {
		return order{}, invalid("append of a frame that is no part")
	}
	next, reason := w.ledger.order.next(f)
	if reason == "" {
		reason = countReason(f)
	}
	if reason != "" {
		return next, invalid("append to segment %d: %s", w.header.Sequence, reason)
	}
	for _, d := range defines {
		if len(d.Payload) == 0 {
			return next, invalid("empty definition of relation %d", d.Relation)
		}
	}
	for _, r := range f.Meta {
		if !w.defined(r.Relation, defines) {
			return next, invalid("part with rows of relation %d, which is not defined", r.Relation)
		}
	}
	return next, nil
}

func (w *Writer) defined(relation uint32, defines []Define) bool {
	for _, d := range defines {
		if d.Relation == relation {
			return true
		}
	}
	_, ok := w.ledger.latest[relation]
	return ok
}

// write writes buf, the payload and the padding, and returns them as they stand in the file.
func (w *Writer) write(payload []byte) (chunks [3][]byte, err error) {
	if len(payload) < separate {
		w.buf = pad(append(w.buf, payload...))
		chunks[0] = w.buf
	} else {
		var zeros [alignment]byte
		n := int64(len(w.buf) + len(payload))
		chunks = [3][]byte{w.buf, payload, zeros[:padded(n)-n]}
	}
	for _, c := range chunks {
		if len(c) == 0 {
			continue
		}
		if _, err := w.w.Write(c); err != nil {
			return chunks, err
		}
	}
	return chunks, nil
}

// Rollback forgets the open transaction and the definitions that came with it. The caller cuts the file to Size
// afterwards, before anything else is written.
func (w *Writer) Rollback() error { return w.ledger.rollback() }

// Seal closes the segment. It returns the footer and the digest by which the next segment names this one. There must
// be no open transaction.
func (w *Writer) Seal() (Footer, Digest, error) {
	f := Frame{Kind: Seal, Synced: w.synced}
	next, reason := w.ledger.order.next(&f)
	if reason != "" {
		return Footer{}, Digest{}, invalid("seal segment %d: %s", w.header.Sequence, reason)
	}
	footer := w.ledger.footer()
	var err error
	if f.Payload, err = footer.encode(); err != nil {
		return Footer{}, Digest{}, err
	}
	if w.buf, err = appendLead(w.buf[:0], &f, w.seed); err != nil {
		return Footer{}, Digest{}, err
	}
	chunks, err := w.write(f.Payload)
	if err != nil {
		return Footer{}, Digest{}, fmt.Errorf("write seal: %w", err)
	}
	w.ledger.add(&f, next, chunks[0], chunks[1], chunks[2])
	return footer, Digest(w.ledger.hash.Sum(nil)), nil
}
