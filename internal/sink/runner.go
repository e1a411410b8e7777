package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"tidemark/internal/progress"
)

// Runner drives one sink. It keeps nothing over an error: it closes the sink, waits, opens it again and reads the
// journal behind what the target really holds.
type Runner struct {
	cfg   Config
	state stateBox
	said  string // the error that was logged last; Run's goroutine only
}

// New makes a Runner; it starts nothing.
func New(cfg Config) (*Runner, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	r := &Runner{cfg: cfg}
	r.state.s = State{Name: cfg.Name}
	r.state.set(Opening, "", 0)
	return r, nil
}

// State returns what the Runner is doing. Any goroutine may call it.
func (r *Runner) State() State { return r.state.get() }

// Run drives the sink until ctx ends, then it returns nil, or until a permanent error, which it returns after logging
// it once. At the end of ctx the sink gets no further tick: what it had in flight it either finds again at its next Open
// or repeats, as after a crash; a sink that can finish something within a bound does so in its Close.
func (r *Runner) Run(ctx context.Context) error {
	for attempts := 0; ; {
		progressed, err := r.session(ctx)
		if ctx.Err() != nil {
			r.state.set(Stopped, "shut down", 0)
			return nil
		}
		if progressed {
			attempts = 0
		}
		attempts++
		if IsPermanent(err) {
			return r.stop(err, attempts)
		}
		if !r.wait(ctx, err, attempts) {
			r.state.set(Stopped, "shut down", 0)
			return nil
		}
	}
}

func (r *Runner) stop(err error, attempts int) error {
	class := "permanent"
	if errors.Is(err, ErrGap) {
		class = "gap"
	}
	r.cfg.Metrics.errors.WithLabelValues(r.cfg.Name, class).Inc()
	r.cfg.Log.Error("sink stopped", "sink", r.cfg.Name, "class", class, "error", err)
	r.state.set(Stopped, err.Error(), attempts)
	return fmt.Errorf("sink %s: %w", r.cfg.Name, err)
}

// wait pauses before the next attempt; false when ctx ended.
func (r *Runner) wait(ctx context.Context, err error, attempts int) bool {
	pause := r.cfg.Backoff.wait(attempts)
	r.cfg.Metrics.errors.WithLabelValues(r.cfg.Name, "transient").Inc()
	// The same error again is not news: an hour without a target is one line, and status shows the rest.
	level := slog.LevelWarn
	if text := err.Error(); text == r.said && attempts > 1 {
		level = slog.LevelDebug
	} else {
		r.said = text
	}
	r.cfg.Log.Log(ctx, level, "sink starts over", "sink", r.cfg.Name, "class", "transient",
		"attempt", attempts, "wait", pause, "error", err)
	r.state.set(Waiting, err.Error(), attempts)
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// session is one opening of the sink, to its first error. The sink is closed after every Open, also a failed one.
func (r *Runner) session(ctx context.Context) (progressed bool, err error) {
	before := r.state.get()
	r.state.set(Opening, before.Reason, before.Attempts)
	defer r.closeSink(ctx)
	reached, err := r.cfg.Sink.Open(ctx)
	if err != nil {
		return false, fmt.Errorf("open: %w", err)
	}
	reached.Covered = max(reached.Covered, reached.Stored)
	r.publishOpened(reached)
	log, err := r.cfg.Open(reached.Stored)
	if err != nil {
		return false, fmt.Errorf("read the journal behind %s: %w", reached.Stored, err)
	}
	defer r.closeLog(log)
	r.state.set(Running, "", before.Attempts)
	s := session{cfg: &r.cfg, log: log, opened: reached, reached: reached}
	s.advanced = func() { r.state.set(Running, "", 0) }
	s.handed.last = reached.Stored
	err = s.run(ctx)
	return s.progressed, err
}

// closeSink gives Close its own bound: ctx may be what ended.
func (r *Runner) closeSink(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.cfg.CloseTimeout)
	defer cancel()
	if err := r.cfg.Sink.Close(ctx); err != nil {
		r.cfg.Log.Warn("close sink", "sink", r.cfg.Name, "error", err)
	}
}

func (r *Runner) closeLog(log Log) {
	if err := log.Close(); err != nil {
		r.cfg.Log.Warn("close journal reader", "sink", r.cfg.Name, "error", err)
	}
}

// publishOpened puts on the board what the target holds. A target that holds less than it once said (restored from a
// backup, or its server lost acknowledged data) takes the board back, loudly: retention must keep what it needs again.
func (r *Runner) publishOpened(reached Reached) {
	m := progress.Mark{Stored: reached.Stored, Covered: reached.Covered}
	old, known := r.cfg.Board.Get(r.cfg.Name)
	if known && old.Stored > reached.Stored {
		r.cfg.Log.Warn("target went back: it holds less than it had confirmed", "sink", r.cfg.Name,
			"confirmed", old.Stored.String(), "holds", reached.Stored.String())
		r.cfg.Board.Reset(r.cfg.Name, m)
		return
	}
	r.cfg.Board.Set(r.cfg.Name, m)
}
