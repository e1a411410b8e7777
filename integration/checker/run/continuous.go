package run

import (
	"context"
	"time"

	"tidemark/internal/position"

	"tidemark/integration/checker/check"
)

// often makes a check again and again. One that could not be made is counted: a server was down.
func (r *run) often(ctx context.Context, name string, low, high time.Duration, what func(context.Context) error) error {
	for {
		pause := low + r.dice.between(0, high-low)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		limited, cancel := context.WithTimeout(ctx, time.Minute)
		err := what(limited)
		cancel()
		switch {
		case isViolation(err):
			return err
		case err == nil:
			r.tally.add(name, 1)
		case ctx.Err() == nil:
			r.tally.add(name+" that could not be made", 1)
			r.cfg.Log.Debug("check could not be made", "check", name, "error", err)
		}
	}
}

func (r *run) standbys(ctx context.Context) error {
	return r.often(ctx, "standby snapshots", 300*time.Millisecond, 1200*time.Millisecond, func(ctx context.Context) error {
		r.standbyMu.Lock()
		defer r.standbyMu.Unlock()
		_, err := r.standby.Check(ctx)
		return err
	})
}

func (r *run) traces(ctx context.Context) error {
	return r.often(ctx, "trace readings", 500*time.Millisecond, time.Second, func(context.Context) error { return r.trace.Check() })
}

func (r *run) restores(ctx context.Context) error {
	return r.often(ctx, "restores", 2*time.Second, 8*time.Second, func(ctx context.Context) error {
		return r.restore.Check(ctx, position.LSN(r.covered.Load()))
	})
}

// statuses asks the service how its copies are: none may give up, whatever is broken around it. What it says of the archive must be
// restorable from then on.
func (r *run) statuses(ctx context.Context) error {
	return r.often(ctx, "statuses", 500*time.Millisecond, 1500*time.Millisecond, func(ctx context.Context) error {
		s, err := r.world.Service.Status(ctx)
		if err != nil {
			return err
		}
		for _, c := range s.Copies {
			if c.State == "stopped" {
				return check.Violated("service", c.Position, "copy %s stopped: %s", c.Name, c.Reason)
			}
			if c.Name == "archive" {
				r.covered.Store(max(r.covered.Load(), uint64(c.Position)))
			}
		}
		return nil
	})
}
