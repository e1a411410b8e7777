package check

import (
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"maps"
	"sync"

	"tidemark/internal/position"

	"tidemark/integration/checker/fold"
)

const streamCheck = "stream"

// StreamConfig says which stream a Stream follows, and what it must hold.
type StreamConfig struct {
	URL      string // of the NATS server itself, not of a proxy
	Name     string // of the stream
	Tables   []fold.Table
	Bases    map[string]string // base types of domains, both as in fold.Column.Type; needed only for domains over json, jsonb and bytea
	Timeline *fold.Timeline
	Truth    Truth // may be nil: no keys in a Violation
	Log      *slog.Logger
}

// Stream is a subscriber that folds the stream into tables and compares them with the timeline at every end of a
// transaction. Run is for one goroutine; the other methods are for any, at any time.
type Stream struct {
	cfg    StreamConfig
	fold   *fold.State
	shapes map[string]*shape

	prefix, database, system string // what all messages share; the first one says
	last                     uint64 // sequence of the last message taken
	seen                     [1 << 16]remembered
	seed                     maphash.Seed // of what is remembered
	at                       position.Position
	open                     []row // rows of the transaction whose marker is still to come
	broken                   error

	mu      sync.Mutex
	reached position.LSN
	counts  map[string]int
	moved   chan struct{} // closed when reached moves
}

// NewStream begins with empty tables at the beginning of the stream.
func NewStream(cfg StreamConfig) *Stream {
	return &Stream{
		cfg: cfg, fold: fold.NewState(cfg.Tables), shapes: shapesOf(cfg.Tables, cfg.Bases),
		seed: maphash.MakeSeed(), counts: map[string]int{}, moved: make(chan struct{}),
	}
}

// Reached returns the end LSN of the last end marker that was found right.
func (s *Stream) Reached() position.LSN {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reached
}

// Counts returns how many messages, rows, transactions and idle markers were found right, how many sessions with the server it took, and how many
// messages the server lost at the end of the stream and got again.
func (s *Stream) Counts() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.counts)
}

// Wait waits until the stream holds every transaction that ends at or below lsn and changes a table. The timeline must get that
// far. The error is the context's.
func (s *Stream) Wait(ctx context.Context, lsn position.LSN) error {
	if err := s.cfg.Timeline.Wait(ctx, lsn); err != nil {
		return err
	}
	for {
		s.mu.Lock()
		reached, moved := s.reached, s.moved
		s.mu.Unlock()
		missing := firstChange(s.cfg.Timeline.Transactions(reached, max(reached, lsn)))
		if missing == nil {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("wait for the stream to hold transaction %s (it is at %s): %w", missing.End, reached, context.Cause(ctx))
		}
	}
}

// firstChange returns the first transaction that changes a table.
func firstChange(entries []fold.Entry) *fold.Entry {
	for i := range entries {
		if len(entries[i].Counts) > 0 {
			return &entries[i]
		}
	}
	return nil
}

func (s *Stream) count(name string, n int) {
	s.mu.Lock()
	s.counts[name] += n
	s.mu.Unlock()
}

func (s *Stream) move(to position.LSN, rows int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reached = to
	s.counts["rows"] += rows
	if rows > 0 {
		s.counts["transactions"]++
	} else {
		s.counts["idle markers"]++
	}
	close(s.moved)
	s.moved = make(chan struct{})
}
