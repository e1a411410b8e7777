package sinktest

import (
	"context"
	"slices"
	"sync"

	"tidemark/internal/position"
	"tidemark/internal/segment"
	"tidemark/internal/sink"
)

// Journal is a journal in memory. Its methods may be called from any goroutine.
type Journal struct {
	mu     sync.Mutex
	frames []segment.Frame
	grown  chan struct{}
	floor  position.LSN
	open   int
}

// NewJournal returns a journal that holds frames.
func NewJournal(frames ...segment.Frame) *Journal {
	return &Journal{frames: frames, grown: make(chan struct{})}
}

// Append adds durable frames and wakes the readers.
func (j *Journal) Append(frames ...segment.Frame) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.frames = append(j.frames, frames...)
	close(j.grown)
	j.grown = make(chan struct{})
}

// Retain makes the journal answer ErrGap to who would read behind a position below floor.
func (j *Journal) Retain(floor position.LSN) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.floor = floor
}

// Readers is the number of open readers.
func (j *Journal) Readers() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.open
}

// Open is a sink.OpenLog.
func (j *Journal) Open(after position.LSN) (sink.Log, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if after != 0 && after < j.floor {
		return nil, sink.ErrGap
	}
	j.open++
	return &reader{j: j, after: after}, nil
}

type reader struct {
	j     *Journal
	after position.LSN
	next  int
	given segment.Frame
}

// Next gives a frame in memory of its own, and spoils the frame given before: who kept it without a copy fails.
func (r *reader) Next(ctx context.Context) (segment.Frame, error) {
	for i := range r.given.Payload {
		r.given.Payload[i] = 0xDB
	}
	clear(r.given.Meta)
	for {
		f, grown := r.peek()
		if f != nil {
			r.next++
			r.given = *f
			r.given.Payload, r.given.Meta = slices.Clone(f.Payload), slices.Clone(f.Meta)
			return r.given, nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return segment.Frame{}, ctx.Err()
		}
	}
}

func (r *reader) Ready() bool {
	f, _ := r.peek()
	return f != nil
}

// peek skips the parts that the reader was opened behind; definitions always come.
func (r *reader) peek() (*segment.Frame, <-chan struct{}) {
	r.j.mu.Lock()
	defer r.j.mu.Unlock()
	for ; r.next < len(r.j.frames); r.next++ {
		if f := &r.j.frames[r.next]; f.Kind == segment.Definition || f.End > r.after {
			return f, nil
		}
	}
	return nil, r.j.grown
}

func (r *reader) Close() error {
	r.j.mu.Lock()
	defer r.j.mu.Unlock()
	r.j.open--
	return nil
}
