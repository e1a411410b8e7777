package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"

	"tidemark/internal/position"
	"tidemark/internal/segment"
	"tidemark/internal/vfs"
)

// errEnd ends the readers of a View.
var errEnd = io.EOF

// Reader reads transactions in commit order, up to what is durable, and waits there for more. One goroutine uses it.
// The segment that it stands in is not removed.
type Reader struct {
	s        *shelf
	sequence uint64
	file     vfs.File
	seg      *segment.Reader
	limit    int64
	// definitions are places of definitions before the beginning, still to be handed out.
	definitions []int64
	// end and total are of the transaction whose parts are being read.
	end    position.LSN
	total  uint32
	closed bool
}

func openReader(s *shelf, after position.LSN) (*Reader, error) {
	r := &Reader{s: s}
	h, limit, err := s.choose(r, after)
	if err == nil {
		err = r.begin(h, limit, after)
	}
	if err != nil {
		_ = r.Close()
		return nil, err
	}
	return r, nil
}

// begin opens the first segment and goes to the first transaction that ends behind after.
func (r *Reader) begin(h held, limit int64, after position.LSN) error {
	if err := r.open(h.header.Sequence, limit); err != nil {
		return err
	}
	totals := h.totals
	if h.sealed {
		var err error
		if _, totals, _, err = segment.ReadFooter(r.s.path(r.sequence), r.file, h.size); err != nil {
			return err
		}
	}
	i := sort.Search(len(totals.Index), func(i int) bool { return totals.Index[i].After > after })
	if i == 0 {
		return nil // the transaction behind after is the segment's first one
	}
	entry := totals.Index[i-1]
	n := sort.Search(len(totals.Definitions), func(i int) bool { return totals.Definitions[i] >= entry.Place })
	r.definitions = append(r.definitions, totals.Definitions[:n]...)
	r.seg.GoTo(entry.Place, entry.After)
	return r.skip(after)
}

// skip goes over the transactions that end at or before after, and notes their definitions.
func (r *Reader) skip(after position.LSN) error {
	start, last, kept := r.seg.Place(), r.seg.Last(), len(r.definitions)
	for r.seg.Place() < r.limit {
		place := r.seg.Place()
		f, err := r.seg.Skip()
		if err != nil {
			return unexpected(err)
		}
		if f.Kind == segment.Definition {
			r.definitions = append(r.definitions, place)
		}
		if !f.Last {
			continue
		}
		if f.End > after {
			break
		}
		start, last, kept = r.seg.Place(), f.End, len(r.definitions)
	}
	r.definitions = r.definitions[:kept]
	r.seg.GoTo(start, last)
	return nil
}

// unexpected makes an end where there should be frames a real error.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// open goes to the beginning of a segment.
func (r *Reader) open(sequence uint64, limit int64) error {
	name := r.s.path(sequence)
	f, err := r.s.fs.Open(name, false)
	if err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	seg, err := segment.NewReader(name, f, limit)
	if err != nil {
		_ = f.Close()
		return err
	}
	if r.seg != nil {
		if after, last := seg.Header().After, r.seg.Last(); after != last {
			_ = f.Close()
			return &segment.CorruptionError{Name: name, Reason: fmt.Sprintf("it begins behind %s, the segment before ends at %s", after, last)}
		}
		_ = r.file.Close() // only read
	}
	r.sequence, r.file, r.seg, r.limit = sequence, f, seg, limit
	return nil
}

// Next returns the next frame, waiting until there is a durable one or ctx ends. Before the first part it returns every
// definition that the segment holds up to there. End and Total are set on every part. Meta and Payload are valid
// until the next call. A View's reader returns io.EOF at the end.
func (r *Reader) Next(ctx context.Context) (segment.Frame, error) {
	for {
		if r.closed {
			return segment.Frame{}, fmt.Errorf("read journal: %w", ErrClosed)
		}
		if len(r.definitions) > 0 {
			f, err := r.seg.FrameAt(r.definitions[0])
			if err == nil {
				r.definitions = r.definitions[1:]
			}
			return f, unexpected(err)
		}
		if r.seg.Place() < r.limit {
			return r.read()
		}
		more, wait, err := r.advance()
		if err != nil {
			return segment.Frame{}, err
		}
		if more {
			continue
		}
		select {
		case <-ctx.Done():
			return segment.Frame{}, ctx.Err()
		case <-wait:
		}
	}
}

// read reads a frame that is there.
func (r *Reader) read() (segment.Frame, error) {
	f, err := r.seg.Next()
	if err != nil || f.Kind != segment.Part {
		return f, unexpected(err)
	}
	if f.First {
		last := f
		if !f.Last {
			if last, err = r.seg.LastPart(); err != nil {
				return segment.Frame{}, err
			}
		}
		r.end, r.total = last.End, last.Ordinal+last.Count
	}
	f.End, f.Total = r.end, r.total
	return f, nil
}

// advance looks for more at the end of what was readable: in this segment, or in the next. Without any it returns the
// channel to wait on.
func (r *Reader) advance() (bool, <-chan struct{}, error) {
	r.s.mu.Lock()
	h := r.s.find(r.sequence)
	if h == nil {
		r.s.mu.Unlock()
		return false, nil, fmt.Errorf("read journal: segment %d is gone: %w", r.sequence, ErrGap)
	}
	if limit := r.s.limit(h); limit > r.limit {
		r.s.mu.Unlock()
		r.limit = limit
		r.seg.SetLimit(limit)
		return true, nil, nil
	}
	next := r.s.find(r.sequence + 1)
	if !h.sealed || next == nil || r.s.limit(next) == 0 {
		defer r.s.mu.Unlock()
		return false, r.s.changed, r.s.err
	}
	limit := r.s.limit(next)
	r.s.readers[r] = r.sequence + 1
	r.s.mu.Unlock()
	return true, nil, r.open(r.sequence+1, limit)
}

// Ready reports whether Next would return at once.
func (r *Reader) Ready() bool {
	if r.closed || len(r.definitions) > 0 || r.seg.Place() < r.limit {
		return true
	}
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return true
	}
	for i := len(s.segments) - 1; i >= 0 && s.segments[i].header.Sequence >= r.sequence; i-- {
		h := s.segments[i]
		if h.header.Sequence == r.sequence {
			return s.limit(h) > r.limit
		}
		if h.sealed && h.totals.Transactions > 0 || s.durable.sequence == h.header.Sequence && s.durable.end > h.header.After {
			return true
		}
	}
	return true // the segment is gone, which Next will say
}

// Close gives the reader's segment free.
func (r *Reader) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	r.s.mu.Lock()
	delete(r.s.readers, r)
	r.s.mu.Unlock()
	if r.file != nil {
		_ = r.file.Close() // only read
	}
	return nil
}
