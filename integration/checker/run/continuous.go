package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tidemark/internal/position"

	"tidemark/integration/checker/check"
	"tidemark/integration/checker/fold"
	"tidemark/integration/checker/world"
)

// often makes a check again and again. One that could not be made is counted: a server was down.
func (r *run) often(ctx context.Context, name string, low, high time.Duration, what func(context.Context) error) error {
	chance := newDice(r.cfg.Seed, fold.Hash(name))
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(chance.between(low, high)):
		}
		limited, cancel := context.WithTimeout(ctx, checkTimeout)
		err := what(limited)
		cancel()
		switch {
		case isViolation(err):
			return err
		case err == nil:
			r.tally.add(name, 1)
		case ctx.Err() == nil:
			r.tally.add(name+couldNot, 1)
			r.cfg.Log.Debug("check could not be made", "check", name, "error", err)
		}
	}
}

const (
	checkTimeout = 2 * time.Minute // of one continuous check; only a restore needs more than a few seconds
	couldNot     = " that could not be made"
)

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

// bases writes bases while the load runs. One that fails is excused: something may be broken. In quiet there is no excuse.
func (r *run) bases(ctx context.Context) error {
	return r.often(ctx, "bases under load", 15*time.Second, 40*time.Second, func(ctx context.Context) error {
		r.baseMu.Lock()
		defer r.baseMu.Unlock()
		return r.must(ctx, "snapshot", "archive")
	})
}

// statuses asks the service how its copies are: none may give up, whatever is broken around it, and none may be said to lag less than
// it does. What the service says of the archive must be restorable from then on.
func (r *run) statuses(ctx context.Context) error {
	return r.often(ctx, "statuses", 500*time.Millisecond, 1500*time.Millisecond, func(ctx context.Context) error {
		before, asked := r.watch.takings(), time.Now()
		s, err := r.world.Service.Status(ctx)
		if err != nil {
			return err
		}
		if r.watch.takings() != before || r.watch.isDown() {
			return errors.New("the service was being ended")
		}
		for _, c := range s.Copies {
			if c.State == "stopped" {
				return check.Violated("service", c.Position, "copy %s stopped: %s", c.Name, c.Reason)
			}
			if wrong := r.dishonest(c, asked); wrong != "" {
				return check.Violated("lag", c.Position, "%s", wrong)
			}
			if c.Name == "archive" {
				r.covered.Store(max(r.covered.Load(), uint64(c.Position)))
			}
		}
		return nil
	})
}

// lagSlack is by how many seconds a copy may be said to lag less than the oldest transaction that it lacks: the service measures
// now and then, and commit times are set by clients for a part of the load.
const lagSlack = 3.0

// dishonest says why a copy's lag is less than the truth, or nothing. While nothing is known the lag is negative.
func (r *run) dishonest(c world.Copy, asked time.Time) string {
	missing := r.timeline.Transactions(c.Position, r.timeline.Covered())
	i := slices.IndexFunc(missing, func(e fold.Entry) bool { return e.Published && len(e.Counts) > 0 })
	if i < 0 || c.LagSeconds < 0 {
		return ""
	}
	if age := asked.Sub(missing[i].Commit).Seconds(); c.LagSeconds < age-lagSlack {
		return fmt.Sprintf("%s is at %s with a lag of %.1f s, and lacks a transaction of %.1f s ago (%s)", c.Name, c.Position, c.LagSeconds, age, missing[i].End)
	}
	return ""
}
