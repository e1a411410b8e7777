package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"github.com/klauspost/compress/zstd"

	"tidemark/internal/segment"
)

// inMemory is the largest segment, in bytes, that a reader unpacks in memory; a larger one goes to a temporary file.
const inMemory = 128 << 20

// Body is a journal object's bytes, fetched and found to be what the index says.
type Body struct {
	object Object
	bytes  []byte
}

// Fetch reads an object and checks its size and digest. An error that is ErrCorrupt, or objstore.ErrNotFound, names it.
func (s *Store) Fetch(ctx context.Context, o Object) (*Body, error) {
	if o.Damage != "" {
		return nil, fmt.Errorf("read %s: %s: %w", o.Key, o.Damage, ErrCorrupt)
	}
	body, err := fetch(ctx, s.bucket, o.Key, o.Size)
	if err != nil {
		return nil, fmt.Errorf("read journal object %s: %w", o.Key, err)
	}
	if digestOf(body) != o.SHA256 {
		return nil, fmt.Errorf("read %s: its digest is not the one in the index: %w", o.Key, ErrCorrupt)
	}
	return &Body{object: o, bytes: body}, nil
}

// Frames walks the object's frames, definitions and parts, in order. End and Total are set on every part. A frame's payload
// is valid until the next step. After an error, which names the object, the walk ends.
func (b *Body) Frames(identity Identity) iter.Seq2[segment.Frame, error] {
	return func(yield func(segment.Frame, error) bool) {
		fail := func(err error) { yield(segment.Frame{}, explainObject(b.object.Key, err)) }
		src, size, closer, err := unpackSegment(b.bytes, b.object.Raw)
		if err != nil {
			fail(err)
			return
		}
		defer closer()
		r, err := segment.NewReader(b.object.Key, src, size)
		if err == nil {
			err = belongs(r.Header(), identity, b.object)
		}
		if err != nil {
			fail(err)
			return
		}
		for {
			f, err := nextFrame(r)
			if errors.Is(err, io.EOF) {
				if footer, ok := r.Footer(); !ok || footer.Last != b.object.Last {
					fail(fmt.Errorf("it does not end as the index says: %w", ErrCorrupt))
				}
				return
			}
			if err != nil {
				fail(err)
				return
			}
			if !yield(f, nil) {
				return
			}
		}
	}
}

// nextFrame reads a frame and gives a part what only the transaction's last part says on disk.
func nextFrame(r *segment.Reader) (segment.Frame, error) {
	f, err := r.Next()
	if err != nil || f.Kind != segment.Part {
		return f, err
	}
	if f.Last {
		f.Total = f.Ordinal + f.Count
		return f, nil
	}
	last, err := r.LastPart()
	f.End, f.Total = last.End, last.Ordinal+last.Count
	return f, err
}

// belongs checks that a segment is the one that the index lists.
func belongs(h segment.Header, identity Identity, o Object) error {
	previous := ""
	if !h.Previous.IsZero() {
		previous = h.Previous.String()
	}
	switch {
	case h.SystemID != identity.SystemID || h.Database != identity.Database:
		return fmt.Errorf("it holds changes of system id %s, database %q: %w", h.SystemID, h.Database, ErrForeign)
	case h.Sequence != o.Sequence:
		return fmt.Errorf("it is object %d: %w", h.Sequence, ErrCorrupt)
	case h.After != o.After || previous != o.Previous:
		return fmt.Errorf("its header is not the one in the index: %w", ErrCorrupt)
	}
	return nil
}

func explainObject(key string, err error) error {
	if damaged, ok := errors.AsType[*segment.CorruptionError](err); ok {
		return fmt.Errorf("read %s: %w at byte %d: %s", key, ErrCorrupt, damaged.Position, damaged.Reason)
	}
	return fmt.Errorf("read %s: %w", key, err)
}

// examine reads an object of which only number, key and size are known, and verifies all of it.
func (s *Store) examine(ctx context.Context, listed Object) (Object, error) {
	body, err := fetch(ctx, s.bucket, listed.Key, listed.Size)
	if err != nil {
		return Object{}, fmt.Errorf("read journal object %s: %w", listed.Key, err)
	}
	return Examine(s.identity, listed.Sequence, body)
}

// Examine verifies the bytes of a journal object of a number, down to each frame, and says what an index would of it.
func Examine(identity Identity, sequence uint64, body []byte) (Object, error) {
	key := JournalKey(sequence)
	packed, err := zstd.NewReader(bytes.NewReader(body), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return Object{}, fmt.Errorf("unpack %s: %w: %w", key, ErrCorrupt, err)
	}
	defer packed.Close()
	r, err := segment.NewStreamReader(key, packed)
	var scan *segment.Scan
	if err == nil {
		scan, err = segment.Verify(r)
	}
	if err != nil {
		// All bytes are here, so whatever fails is in them.
		return Object{}, explainObject(key, errors.Join(ErrCorrupt, err))
	}
	o := describe(scan.Header, scan.Totals, scan.Chain, scan.Size, body)
	want := o
	want.Sequence = sequence
	return o, wrapObject(key, belongs(scan.Header, identity, want))
}

func wrapObject(key string, err error) error {
	if err == nil {
		return nil
	}
	return explainObject(key, err)
}

// unpackSegment gives a segment in a form that can be read at any place.
func unpackSegment(body []byte, size int64) (src io.ReaderAt, n int64, closer func(), err error) {
	if size <= inMemory {
		raw, err := Decompress(body, size)
		return bytes.NewReader(raw), size, func() {}, err
	}
	f, err := os.CreateTemp("", "tidemark-object-")
	if err != nil {
		return nil, 0, nil, fmt.Errorf("make temporary file: %w", err)
	}
	closer = func() { _ = f.Close() } // it has no name any more: closing removes it
	if err := os.Remove(f.Name()); err != nil {
		closer()
		return nil, 0, nil, fmt.Errorf("unlink temporary file: %w", err)
	}
	if err := unpackTo(f, body, size); err != nil {
		closer()
		return nil, 0, nil, err
	}
	return f, size, closer, nil
}

func unpackTo(w io.Writer, body []byte, size int64) error {
	packed, err := zstd.NewReader(bytes.NewReader(body), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return fmt.Errorf("make decompressor: %w", err)
	}
	defer packed.Close()
	n, err := io.Copy(w, io.LimitReader(packed, size+1))
	if err == nil && n != size {
		err = fmt.Errorf("it unpacks to %d bytes or more, want %d: %w", n, size, ErrCorrupt)
	}
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	return nil
}
