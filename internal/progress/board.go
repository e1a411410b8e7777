// Package progress is the board on which every stage writes how far it has come. It is what acknowledgement,
// retention, lag and status read; stages know the board and not each other. Nothing on it is durable: each stage
// reads its true position from its own target at start.
package progress

import (
	"sync"

	"tidemark/internal/position"
)

// The stages that write on the board. A sink's stage is the name of its copy.
const (
	Journal = "journal"
	Standby = "standby"
	NATS    = "nats"
	Archive = "archive"
)

// Mark is how far a stage has come.
type Mark struct {
	// Stored is the end LSN up to which the stage's own target holds everything, and from which it would go on after
	// a restart. Retention and acknowledgement read this.
	Stored position.LSN
	// Covered is the end LSN up to which nothing is missing at the target, Stored ≤ Covered. They differ only where
	// the transactions between need no effect there (our own bookkeeping, tables that the sink leaves out).
	Covered position.LSN
	// Time is the commit time, on the source's clock, of the last transaction at or below Covered; zero if unknown.
	Time position.Time
}

// Board holds one Mark per stage. All methods may be called at any time from any goroutine.
type Board struct {
	mu      sync.Mutex
	marks   map[string]Mark
	changed chan struct{}
}

// New returns an empty board.
func New() *Board { return &Board{marks: map[string]Mark{}, changed: make(chan struct{})} }

// Set moves a stage forward. A mark that is behind in a field leaves that field as it is: a board never goes back.
func (b *Board) Set(stage string, m Mark) {
	b.mu.Lock()
	defer b.mu.Unlock()
	old, known := b.marks[stage]
	next := Mark{Stored: max(old.Stored, m.Stored), Covered: max(old.Covered, m.Covered, m.Stored), Time: old.Time}
	if max(m.Covered, m.Stored) >= old.Covered && m.Time != 0 {
		next.Time = m.Time
	}
	if known && next == old {
		return
	}
	b.marks[stage] = next
	b.announce()
}

// Reset puts a stage at m, also backwards: only for a stage whose target was found to hold less than it said, which
// its caller must have reported.
func (b *Board) Reset(stage string, m Mark) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.marks[stage] = m
	b.announce()
}

func (b *Board) announce() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// Get returns a stage's mark; false when it never wrote one.
func (b *Board) Get(stage string) (Mark, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m, ok := b.marks[stage]
	return m, ok
}

// Changed returns a channel that is closed at the next change of any mark. Take it before Get, so that no change is
// missed between.
func (b *Board) Changed() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changed
}

// Floor returns the lowest Stored of the given stages. It is zero, and false, as long as one of them wrote no mark.
func (b *Board) Floor(stages ...string) (position.LSN, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var low position.LSN
	for i, s := range stages {
		m, ok := b.marks[s]
		if !ok {
			return 0, false
		}
		if i == 0 || m.Stored < low {
			low = m.Stored
		}
	}
	return low, len(stages) > 0
}
