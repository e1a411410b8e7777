package run

import (
	"context"
	"fmt"
	"time"

	"tidemark/internal/position"

	"tidemark/integration/checker/check"
	"tidemark/integration/checker/world"
)

const (
	catchUp      = 60 * time.Second // within which every copy must have what the primary has, once everything is mended (I8)
	idleLag      = 2.0              // seconds; what a copy may be said to lag when nothing happens (I12)
	retainedMost = 256 << 20        // bytes of WAL that the slot may hold back when everything was acknowledged
)

// direct alternates trouble and quiet until the run's length is over, and ends with quiet.
func (r *run) direct(ctx context.Context) error {
	end := time.Now().Add(r.cfg.Length)
	for {
		length := 8*time.Second + r.dice.between(0, 14*time.Second)
		if err := r.nemesis.Trouble(ctx, min(length, time.Until(end))); err != nil {
			return err
		}
		if err := r.bounded(ctx, r.quiet); err != nil {
			return err
		}
		if !time.Now().Before(end) {
			return r.bounded(ctx, r.ledger)
		}
	}
}

// bounded takes it for a violation when a quiet period does not come to an end: somebody waits for something that never comes.
func (r *run) bounded(ctx context.Context, quiet func(context.Context) error) error {
	limited, cancel := context.WithTimeoutCause(ctx, 3*catchUp, errLate)
	defer cancel()
	err := quiet(limited)
	if err != nil && !isViolation(err) && ctx.Err() == nil && limited.Err() != nil {
		return check.Violated("live", 0, "a quiet period did not end within %v: %v", 3*catchUp, err)
	}
	return err
}

// quiet stops the load and holds everything against everything else.
func (r *run) quiet(ctx context.Context) error {
	if err := r.load.Pause(ctx); err != nil {
		return fmt.Errorf("pause the load: %w", err)
	}
	defer r.load.Resume()
	end, err := r.end(ctx)
	if err != nil {
		return err
	}
	if err := r.live(ctx, end); err != nil {
		return err
	}
	r.tally.add("quiet periods", 1)
	if r.dice.roll(3) == 0 {
		if err := r.base(ctx); err != nil {
			return err
		}
	}
	return r.offline(ctx)
}

// end is where the primary's WAL ends while the load stands still. Heartbeats go on, so it is not where it ends later.
func (r *run) end(ctx context.Context) (position.LSN, error) {
	text, err := scan[string](ctx, r, "select pg_current_wal_flush_lsn()::text")
	if err != nil {
		return 0, err
	}
	return position.ParseLSN(text)
}

// live requires that every copy reaches what the primary held, equals it, and says so.
func (r *run) live(ctx context.Context, end position.LSN) error {
	limited, cancel := context.WithTimeoutCause(ctx, catchUp, errLate)
	defer cancel()
	if err := r.timeline.Wait(limited, end); err != nil {
		return fmt.Errorf("the reference log does not reach %s: %w", end, err)
	}
	last := r.lastChange(end)
	for _, c := range []struct {
		name string
		wait func(context.Context) error
	}{
		{"the stream", func(ctx context.Context) error { return r.stream.Wait(ctx, last) }},
		{"the standby", func(ctx context.Context) error { return r.standbyReaches(ctx, last) }},
		{"the status", func(ctx context.Context) error { return r.statusReaches(ctx, last) }},
		{"the slot", r.slotFollows},
	} {
		if err := retry(limited, 50*time.Millisecond, c.wait); err != nil {
			return r.late(ctx, c.name, end, err)
		}
	}
	return nil
}

// late is what a copy that did not catch up in time violates.
func (r *run) late(ctx context.Context, name string, end position.LSN, err error) error {
	if ctx.Err() != nil || isViolation(err) {
		return err
	}
	return check.Violated("live", end, "%s has not what the primary has, %v after everything was mended: %v", name, catchUp, err)
}

// lastChange is the end of the last transaction that changed a table of the model.
func (r *run) lastChange(end position.LSN) (last position.LSN) {
	for _, e := range r.timeline.Transactions(0, end) {
		if len(e.Counts) > 0 {
			last = e.End
		}
	}
	return last
}

func (r *run) standbyReaches(ctx context.Context, lsn position.LSN) error {
	r.standbyMu.Lock()
	defer r.standbyMu.Unlock()
	at, err := r.standby.Check(ctx)
	if err == nil && at < lsn {
		err = fmt.Errorf("the standby is at %s", at)
	}
	return err
}

func (r *run) statusReaches(ctx context.Context, lsn position.LSN) error {
	s, err := r.world.Service.Status(ctx)
	if err != nil {
		return err
	}
	for _, c := range s.Copies {
		if c.Position < lsn || c.LagSeconds < 0 || c.LagSeconds > idleLag {
			return fmt.Errorf("%s is at %s with a lag of %.1f s (%s)", c.Name, c.Position, c.LagSeconds, c.State)
		}
	}
	if len(s.Copies) < 4 || !s.Ready {
		return fmt.Errorf("the status is not ready: %+v", s)
	}
	return nil
}

func (r *run) slotFollows(ctx context.Context) error {
	held, err := scan[int64](ctx, r, "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), confirmed_flush_lsn)::bigint from pg_replication_slots where slot_name = '"+world.Slot+"'")
	if err == nil && held > 1<<20 {
		err = fmt.Errorf("the slot confirmed all but %d bytes", held)
	}
	if err != nil {
		return err
	}
	kept, err := scan[int64](ctx, r, "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), restart_lsn)::bigint from pg_replication_slots where slot_name = '"+world.Slot+"'")
	if err == nil && kept > retainedMost {
		err = fmt.Errorf("the slot keeps %d bytes of WAL", kept)
	}
	return err
}
