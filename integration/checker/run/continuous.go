package run

import (
	"context"
	"time"

	"tidemark/internal/position"
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
	return r.often(ctx, "restores", 2*time.Second, 8*time.Second, func(ctx context.Context) error { return r.restore.Check(ctx, r.archived(ctx)) })
}

// archived is what the archive holds for certain: what the service said last.
func (r *run) archived(ctx context.Context) position.LSN {
	if s, err := r.world.Service.Status(ctx); err == nil {
		for _, c := range s.Copies {
			if c.Name == "archive" {
				r.covered.Store(uint64(max(position.LSN(r.covered.Load()), c.Position)))
			}
		}
	}
	return position.LSN(r.covered.Load())
}
