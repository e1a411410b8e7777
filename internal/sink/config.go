package sink

import (
	"errors"
	"log/slog"
	"time"

	"tidemark/internal/progress"
)

// Config is what a Runner needs. Zero bounds and intervals take their defaults.
type Config struct {
	// Name is the copy's name: its stage on the board, its label in metrics and its name in status.
	Name string
	Sink Sink
	// Open opens the journal behind a position.
	Open  OpenLog
	Board *progress.Board

	BatchFrames int // most frames of one Apply; default 1024
	BatchBytes  int // payload bytes after which a batch is closed; default 4 MiB. One frame is always taken, whatever its size.

	// Tick is the interval of empty Applies while the sink is behind what it was given; default 200 ms.
	Tick time.Duration
	// IdleTick is their interval while nothing is pending, for sinks driven by time; default 1 s.
	IdleTick time.Duration
	// CloseTimeout bounds Sink.Close; default 5 s.
	CloseTimeout time.Duration
	Backoff      Backoff

	Metrics *Metrics     // nil counts nowhere
	Log     *slog.Logger // nil discards
}

func (c Config) withDefaults() (Config, error) {
	if c.Name == "" || c.Sink == nil || c.Open == nil || c.Board == nil {
		return c, errors.New("make runner: name, sink, journal and board are required")
	}
	setDefault(&c.BatchFrames, 1024)
	setDefault(&c.BatchBytes, 4<<20)
	setDefault(&c.Tick, 200*time.Millisecond)
	setDefault(&c.IdleTick, time.Second)
	setDefault(&c.CloseTimeout, 5*time.Second)
	setDefault(&c.Backoff.Min, 100*time.Millisecond)
	setDefault(&c.Backoff.Max, 30*time.Second)
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

func setDefault[T int | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}
