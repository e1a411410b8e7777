package run

import (
	"context"
	"fmt"
	"sync"
	"time"

	"tidemark/internal/position"

	"tidemark/integration/checker/check"
	"tidemark/integration/checker/oracle"
	"tidemark/integration/checker/world"
)

// offline ends the service, well or not, looks at its journal, and commits two prepared transactions as the next WAL records
// before it starts again: a service that begins one byte too far misses the first, one that compares commit LSNs the second.
func (r *run) offline(ctx context.Context) error {
	down := sync.OnceFunc(r.watch.takeDown)
	defer func() { down(); r.watch.bringUp() }()
	exact, err := r.load.Edge(ctx, func() error {
		if err := retry(ctx, 20*time.Millisecond, r.caughtUp); err != nil {
			return err
		}
		down()
		return r.stop(ctx)
	})
	if err != nil {
		return err
	}
	r.tally.add("restarts between prepare and commit", 1)
	if exact {
		r.tally.add("restarts exactly before a commit record", 1)
	}
	if err := r.audit(ctx); err != nil {
		return err
	}
	return r.world.Service.Start(ctx)
}

// caughtUp says whether everything written was confirmed; a heartbeat may come between.
func (r *run) caughtUp(ctx context.Context) error {
	left, err := scan[int64](ctx, r, "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), confirmed_flush_lsn)::bigint from pg_replication_slots where slot_name = '"+world.Slot+"'")
	if err == nil && left > 0 {
		err = fmt.Errorf("%d bytes are not confirmed", left)
	}
	return err
}

// stop terminates the service three times in four, and kills it otherwise.
func (r *run) stop(ctx context.Context) error {
	if !r.world.Service.Running() {
		return check.Violated("service", 0, "it ended by itself while nothing was broken: its log is %s", r.world.Service.LogFile())
	}
	if r.dice.roll(4) == 0 {
		r.tally.add("service killed in quiet", 1)
		return r.world.Service.Kill()
	}
	r.tally.add("service terminated in quiet", 1)
	return r.terminate(ctx)
}

// terminate ends the service as a service manager does; it must end well. One that gave up before is not there to be ended.
func (r *run) terminate(ctx context.Context) error {
	if !r.world.Service.Running() {
		return nil
	}
	begin := time.Now()
	err := r.world.Service.Terminate(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx) // the run ends, and cut it short
	}
	if err != nil {
		return check.Violated("service", 0, "SIGTERM did not end it well after %v: %v: its log is %s", time.Since(begin).Round(time.Millisecond), err, r.world.Service.LogFile())
	}
	return nil
}

// audit holds the journal of a service that does not run against the reference log, and against what was acknowledged.
func (r *run) audit(ctx context.Context) error {
	if err := r.trace.Check(); err != nil {
		return err
	}
	text, err := scan[string](ctx, r, "select confirmed_flush_lsn::text from pg_replication_slots where slot_name = '"+world.Slot+"'")
	if err != nil {
		return err
	}
	confirmed, err := position.ParseLSN(text)
	if err != nil {
		return err
	}
	if err := r.timeline.Wait(ctx, confirmed); err != nil {
		return err
	}
	if err := r.journal.Check(ctx, max(confirmed, r.trace.Acknowledged())); err != nil {
		return err
	}
	r.tally.add("journals checked offline", 1)
	return nil
}

// base writes another base into the archive; restores may begin there.
func (r *run) base(ctx context.Context) error {
	r.baseMu.Lock()
	defer r.baseMu.Unlock()
	result, err := r.world.Service.Command(ctx, "snapshot", "archive")
	if err != nil {
		return err
	}
	if result.Code != 0 {
		return check.Violated("base", 0, "snapshot archive exits %d: %s", result.Code, result.Stderr)
	}
	r.tally.add("bases", 1)
	return nil
}

// ledger compares what the clients saw with what the primary and the standby hold at last.
func (r *run) ledger(ctx context.Context) error {
	if err := r.load.Pause(ctx); err != nil {
		return err
	}
	defer r.load.Resume()
	end, err := r.end(ctx)
	if err != nil {
		return err
	}
	if err := r.live(ctx, end); err != nil {
		return err
	}
	if err := r.verifyLedger(ctx, r.world.Primary.URL()); err != nil {
		return fmt.Errorf("the primary contradicts its clients: %w", err)
	}
	if err := r.verifyLedger(ctx, r.world.Standby.URL()); err != nil {
		return check.Violated("ledger", end, "on the standby: %v", err)
	}
	return nil
}

func (r *run) verifyLedger(ctx context.Context, url string) error {
	conn, err := oracle.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return r.load.Verify(ctx, conn)
}
