package journal

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"tidemark/internal/position"
	"tidemark/internal/vfs"
)

// mark is a place at which a transaction ends.
type mark struct {
	sequence uint64
	size     int64
	end      position.LSN
	time     position.Time
}

// shelf is what readers see: the segments, and how far they are durable.
type shelf struct {
	fs  vfs.FS
	dir string

	mu       sync.Mutex
	segments []*held // oldest first; held by mu
	total    int64   // size of all segments
	durable  mark
	readers  map[*Reader]uint64 // the segment that each stands in
	changed  chan struct{}      // closed at the next change
	err      error              // why nothing more will come
}

func newShelf(fs vfs.FS, dir string) *shelf {
	return &shelf{fs: fs, dir: dir, readers: map[*Reader]uint64{}, changed: make(chan struct{})}
}

func (s *shelf) path(sequence uint64) string { return filepath.Join(s.dir, fileName(sequence)) }

// announce wakes waiting readers. The caller holds mu.
func (s *shelf) announce() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// find returns a segment, nil if it is not there. The caller holds mu.
func (s *shelf) find(sequence uint64) *held {
	if len(s.segments) == 0 || sequence < s.segments[0].header.Sequence {
		return nil
	}
	i := sequence - s.segments[0].header.Sequence
	if i >= uint64(len(s.segments)) {
		return nil
	}
	return s.segments[i]
}

// limit is how far a segment may be read. The caller holds mu.
func (s *shelf) limit(h *held) int64 {
	switch {
	case h.sealed:
		return h.data
	case s.durable.sequence == h.header.Sequence:
		return s.durable.size
	}
	return 0
}

// choose finds the segment in which the transaction behind after begins, and puts the reader there.
func (s *shelf) choose(r *Reader, after position.LSN) (held, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil && !errors.Is(s.err, errEnd) {
		return held{}, 0, s.err
	}
	oldest := s.segments[0].header.After
	switch {
	case after == 0:
		after = oldest
	case after < oldest:
		return held{}, 0, fmt.Errorf("read journal behind %s: it begins behind %s: %w", after, oldest, ErrGap)
	case after > s.durable.end:
		return held{}, 0, fmt.Errorf("read journal behind %s: it ends at %s: %w", after, s.durable.end, ErrAhead)
	}
	i := len(s.segments) - 1
	for i > 0 && (s.segments[i].header.After > after || s.limit(s.segments[i]) == 0) {
		i--
	}
	h := *s.segments[i]
	s.readers[r] = h.header.Sequence
	return h, s.limit(&h), nil
}

// Oldest is the end LSN behind which the journal begins.
func (s *shelf) Oldest() position.LSN {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.segments[0].header.After
}

// Segments describes all segments, oldest first.
func (s *shelf) Segments() []Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Info
	for _, h := range s.segments {
		all = append(all, h.info())
	}
	return all
}

// Bytes is the size of all segments.
func (s *shelf) Bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

// Durable is the end LSN of the last transaction that is fsynced, or where the journal began, with its commit time,
// 0 if it is not known.
func (s *shelf) Durable() (position.LSN, position.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.durable.end, s.durable.time
}

// Read opens a reader behind the transaction that ends at after; zero begins at the oldest one. The error is ErrGap or
// ErrAhead when the journal does not hold that place.
func (s *shelf) Read(after position.LSN) (*Reader, error) { return openReader(s, after) }
