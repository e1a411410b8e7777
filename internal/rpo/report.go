package rpo

import (
	"time"

	"tidemark/internal/position"
	"tidemark/internal/progress"
)

// Copy is a copy as configured.
type Copy struct {
	Name   string // journal, standby, nats, archive
	Domain string
	Tier   int
	Target time.Duration
}

// Standing is where a copy stands.
type Standing struct {
	Copy
	Exposure
	Level    Level
	Position position.LSN
	Commit   position.Time
}

// Monitor answers where every copy stands now. Its fields are set before first use.
type Monitor struct {
	Copies []Copy
	Board  *progress.Board
	Ages   *Ages
	Stream func() Stream
}

// Now grades every copy, the journal first. Time is read once, so that the answers belong together.
func (m *Monitor) Now(now time.Time) []Standing {
	stream := m.Stream()
	journal := Expose(now, stream, m.Ages, m.held(progress.Journal), Exposure{})
	out := make([]Standing, 0, len(m.Copies))
	for _, c := range m.Copies {
		held := m.held(c.Name)
		e := journal
		if c.Name != progress.Journal {
			e = Expose(now, stream, m.Ages, held, journal)
		}
		out = append(out, Standing{
			Copy: c, Exposure: e, Level: LevelOf(e, c.Target), Position: held.Covered, Commit: held.Time,
		})
	}
	m.forget()
	return out
}

func (m *Monitor) held(name string) Held {
	mark, ok := m.Board.Get(name)
	return Held{Covered: mark.Covered, Time: mark.Time, Known: ok}
}

// forget drops the ages that no copy needs any more. A copy that said nothing yet needs them all.
func (m *Monitor) forget() {
	floor := position.LSN(1<<64 - 1)
	for _, c := range m.Copies {
		mark, ok := m.Board.Get(c.Name)
		if !ok {
			return
		}
		floor = min(floor, mark.Covered)
	}
	m.Ages.Forget(floor)
}
