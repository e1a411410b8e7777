package rpo

import (
	"fmt"
	"time"

	"tidemark/internal/position"
)

// FreshFor is how long the source's word that nothing is missing stays good. Feedback asks for it every second.
const FreshFor = 3 * time.Second

// Stream is what capture knows of the source.
type Stream struct {
	Connected bool
	// Confirmed is the newest moment, on the source's clock, at which everything committed was durable in the journal.
	Confirmed position.Time
	// Offset is the source's clock minus ours.
	Offset time.Duration
	// WALEnd is the newest end of WAL that the source told us.
	WALEnd position.LSN
}

// Held is what a copy holds: everything up to Covered.
type Held struct {
	Covered position.LSN
	Time    position.Time
	Known   bool // false as long as the copy said nothing
}

// Exposure is what would be lost with only this copy left.
type Exposure struct {
	Lag   time.Duration
	Bytes int64
	Known bool
}

// Expose computes a copy's exposure at now (our clock). journal is the journal's own exposure, or the zero value when the copy
// is the journal.
func Expose(now time.Time, s Stream, ages *Ages, held Held, journal Exposure) Exposure {
	if !held.Known || s.Confirmed.IsZero() {
		return Exposure{}
	}
	source := position.TimeOf(now.Add(s.Offset))
	e := Exposure{Known: true, Lag: journal.Lag}
	oldest, missing, known := ages.Oldest(held.Covered)
	if !known {
		// The target went back behind what we remember. What it holds last is older than all that it lacks.
		if held.Time.IsZero() {
			return Exposure{}
		}
		oldest = held.Time
	}
	if missing {
		e.Lag = max(e.Lag, source.Sub(oldest))
		e.Bytes = max(0, int64(s.WALEnd)-int64(held.Covered))
	}
	// A commit time may lie in the future (a clock that was set back, a time from a replication origin): what we do not
	// hear of counts all the same.
	if silent := source.Sub(s.Confirmed); !s.Connected || silent > FreshFor {
		e.Lag = max(e.Lag, silent)
		e.Bytes = max(e.Bytes, int64(s.WALEnd)-int64(max(held.Covered, ages.Last())))
	}
	return e.atLeastZero()
}

func (e Exposure) atLeastZero() Exposure {
	e.Lag = max(e.Lag, 0)
	return e
}

// Level is how a lag stands to its target.
type Level string

// The levels, by the ratio of lag to target: up to 0.5, up to 0.8, up to 1, and above.
const (
	Healthy  Level = "healthy"
	Warning  Level = "warning"
	Critical Level = "critical"
	Breached Level = "breached"
	Unknown  Level = "unknown"
)

// Levels lists all levels in the order of severity.
func Levels() []Level { return []Level{Healthy, Warning, Critical, Breached, Unknown} }

// LevelOf grades an exposure against the target of its tier.
func LevelOf(e Exposure, target time.Duration) Level {
	if !e.Known || target <= 0 {
		return Unknown
	}
	switch ratio := float64(e.Lag) / float64(target); {
	case ratio <= 0.5:
		return Healthy
	case ratio <= 0.8:
		return Warning
	case ratio <= 1:
		return Critical
	}
	return Breached
}

// Reason is one line for a breached copy.
func Reason(copy string, e Exposure, tier int, target time.Duration) string {
	return fmt.Sprintf("copy %s is %s behind, above the %s of tier %d", copy, e.Lag.Round(time.Millisecond), target, tier)
}
