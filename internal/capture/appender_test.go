package capture

import (
	"bytes"
	"fmt"
	"slices"
	"sync"

	"tidemark/internal/pgoutput"
	"tidemark/internal/position"
	"tidemark/internal/progress"
	"tidemark/internal/segment"
)

func clonePart(a segment.Append) segment.Append {
	a.Frame.Meta = slices.Clone(a.Frame.Meta)
	a.Frame.Payload = bytes.Clone(a.Frame.Payload)
	a.Defines = slices.Clone(a.Defines)
	return a
}

// received is one transaction as the memory journal saw it.
type receivedTx struct {
	end   position.LSN
	rows  int
	parts int
}

// memory is a journal in memory that refuses what a real one would, decodes every part, and says what is durable when it is told to.
type memory struct {
	board *progress.Board
	// before, if set, is called before every append; its error is the append's.
	before func(a segment.Append) error

	mu        sync.Mutex
	done      []receivedTx
	open      receivedTx
	end       position.LSN
	time      position.Time
	withhold  bool
	discards  int
	frontiers int
	largest   int
	changed   chan struct{}
}

func newMemory(board *progress.Board, start position.LSN) *memory {
	board.Set(progress.Journal, progress.Mark{Stored: start})
	return &memory{board: board, end: start, changed: make(chan struct{})}
}

type errNoRoom struct{}

func (errNoRoom) Error() string { return "no room" }
func (errNoRoom) Full() bool    { return true }

func (m *memory) Append(a segment.Append) error {
	if m.before != nil {
		if err := m.before(a); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	f := a.Frame
	if f.IsFrontier() {
		return m.frontier(f)
	}
	if int(f.Number) != m.open.parts || int(f.Ordinal) != m.open.rows || f.First != (f.Number == 0) {
		return fmt.Errorf("part %d at ordinal %d does not follow %d parts with %d changes", f.Number, f.Ordinal, m.open.parts, m.open.rows)
	}
	if f.Commit < m.end {
		return fmt.Errorf("transaction at %s is not behind %s", f.Commit, m.end)
	}
	if err := decode(a); err != nil {
		return err
	}
	m.open.parts++
	m.open.rows += int(f.Count)
	m.largest = max(m.largest, len(f.Payload))
	if f.Last {
		m.open.end = f.End
		m.done = append(m.done, m.open)
		m.open, m.end, m.time = receivedTx{}, f.End, f.Time
		if !m.withhold {
			m.board.Set(progress.Journal, progress.Mark{Stored: f.End, Time: f.Time})
		}
	}
	m.announce()
	return nil
}

func (m *memory) frontier(f segment.Frame) error {
	if f.End <= m.end || m.open.parts > 0 {
		return fmt.Errorf("frontier at %s does not belong behind %s with %d open parts", f.End, m.end, m.open.parts)
	}
	m.end = f.End
	m.frontiers++
	if !m.withhold {
		m.board.Set(progress.Journal, progress.Mark{Stored: f.End})
	}
	return nil
}

func (m *memory) announce() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// decode reads every row with the definitions that came along.
func decode(a segment.Append) error {
	d := pgoutput.NewDecoder()
	for _, def := range a.Defines {
		if err := d.Define(def.Payload); err != nil {
			return err
		}
	}
	for _, err := range d.Rows(&a.Frame) {
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) Discard() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open = receivedTx{}
	m.discards++
	m.announce()
	return nil
}

// release says that everything is durable, now and from now on.
func (m *memory) release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.withhold = false
	m.board.Set(progress.Journal, progress.Mark{Stored: m.end, Time: m.time})
}

func (m *memory) transactions() ([]receivedTx, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.done), m.changed
}
