package demo

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"tidemark/internal/archive"
	"tidemark/internal/daemon"
	"tidemark/internal/position"
	"tidemark/internal/restore"
	"tidemark/internal/snapshot"
)

const (
	sessions = 4
	loadSeed = 20260101
	catchUp  = 2 * time.Minute
	// lost is the table that the accident empties.
	lost = "shop.payments"
)

// play is the piece: load, seed and base in the middle of it, accident, restore, comparison.
func (s *stage) play(ctx context.Context, service *daemon.Service) (Result, error) {
	stream := newFolded("shop.visits")
	stopReading, err := stream.consume(ctx, service.NATSURL(), s.cfg.Sinks.NATS.Stream)
	if err != nil {
		return Result{}, err
	}
	defer stopReading()
	if err := execute(ctx, s.primary.URL(application), firstRows); err != nil {
		return Result{}, err
	}
	result, lags, err := s.underLoad(ctx, service)
	if err != nil {
		return Result{}, err
	}
	result.Standby.LagP50, result.Standby.LagP99 = quantiles(lags)

	before, moment, err := s.accident(ctx)
	if err != nil {
		return Result{}, err
	}
	if err := s.settle(ctx, service, stream); err != nil {
		return Result{}, err
	}
	after, err := digests(ctx, s.primary.URL(application))
	if err != nil {
		return Result{}, err
	}
	s.sayf("comparing …")
	if result.Standby.Verified, err = s.same(ctx, "standby", after, s.standby.URL(copyName)); err != nil {
		return Result{}, err
	}
	if err := s.compareStream(ctx, stream, after, &result); err != nil {
		return Result{}, err
	}
	if err := s.restore(ctx, moment, before, &result); err != nil {
		return Result{}, err
	}
	result.Verified = result.Standby.Verified && result.NATS.Verified && result.Restore.Verified
	return result, nil
}

// underLoad runs the load, and takes the standby's seed and the archive's base while it runs.
func (s *stage) underLoad(ctx context.Context, service *daemon.Service) (Result, []time.Duration, error) {
	work := &load{url: s.primary.URL(application)}
	timed, cancel := context.WithTimeout(ctx, s.opts.Duration)
	defer cancel()
	s.sayf("running %d sessions for %s …", sessions, s.opts.Duration)
	group, running := errgroup.WithContext(timed)
	group.Go(func() error { return work.run(running, sessions, loadSeed) })
	group.Go(func() error { s.report(running, service, work); return nil })
	var lags []time.Duration
	group.Go(func() error {
		if err := s.copies(ctx); err != nil {
			return err
		}
		var err error
		lags, err = s.probe(running)
		return err
	})
	if err := group.Wait(); err != nil {
		return Result{}, nil, err
	}
	return Result{Transactions: work.transactions.Load(), Rows: work.rows.Load()}, lags, nil
}

func (s *stage) copies(ctx context.Context) error {
	seeded, err := snapshot.SeedStandby(ctx, snapshot.StandbyOptions{
		SourceURL: s.primary.URL(application), TargetURL: s.standby.URL(copyName), Publication: s.cfg.Source.Publication.Name,
		Slot: s.cfg.Source.Slot, Log: s.opts.Log,
	})
	if err != nil {
		return fmt.Errorf("seed standby: %w", err)
	}
	s.sayf("  standby seeded at %s", seeded.LSN)
	bucket, err := archive.OpenBucket(ctx, s.cfg.Sinks.Archive.URL)
	if err != nil {
		return err
	}
	base, err := snapshot.TakeBase(ctx, snapshot.BaseOptions{
		SourceURL: s.primary.URL(application), Bucket: bucket, Publication: s.cfg.Source.Publication.Name, Log: s.opts.Log,
	})
	if err != nil {
		return fmt.Errorf("take base: %w", err)
	}
	s.sayf("  base in the archive at %s", base.LSN)
	return nil
}

func (s *stage) report(ctx context.Context, service *daemon.Service, work *load) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for start := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var lags []string
		for _, c := range service.State().Copies {
			lag := "–"
			if c.LagSeconds >= 0 {
				lag = fmt.Sprintf("%.0f ms", c.LagSeconds*1000)
			}
			lags = append(lags, c.Name+" "+lag)
		}
		s.sayf("  %3.0f s  %6d transactions  %7d rows   lag: %s", time.Since(start).Seconds(),
			work.transactions.Load(), work.rows.Load(), strings.Join(lags, ", "))
	}
}

// probe measures how long a committed row takes to become visible on the standby.
func (s *stage) probe(ctx context.Context) ([]time.Duration, error) {
	own := context.WithoutCancel(ctx)
	primary, err := pgx.Connect(own, s.primary.URL(application))
	if err != nil {
		return nil, fmt.Errorf("connect probe: %w", err)
	}
	defer primary.Close(own)
	standby, err := pgx.Connect(own, s.standby.URL(copyName))
	if err != nil {
		return nil, fmt.Errorf("connect probe: %w", err)
	}
	defer standby.Close(own)
	var lags []time.Duration
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for id := 1; ; id++ {
		if _, err := primary.Exec(own, "insert into shop.probe (id) values ($1)", id); err != nil {
			return nil, fmt.Errorf("write probe: %w", err)
		}
		sent := time.Now()
		for seen := false; !seen; {
			if err := standby.QueryRow(own, "select exists (select from shop.probe where id = $1)", id).Scan(&seen); err != nil {
				return nil, fmt.Errorf("look for probe: %w", err)
			}
			if !seen && ctx.Err() != nil {
				return lags, nil
			}
		}
		lags = append(lags, time.Since(sent))
		select {
		case <-ctx.Done():
			return lags, nil
		case <-pause.C:
		}
	}
}

// accident notes the state and the moment, and then empties a table.
func (s *stage) accident(ctx context.Context) (before map[string]string, moment time.Time, err error) {
	url := s.primary.URL(application)
	if before, err = digests(ctx, url); err != nil {
		return nil, time.Time{}, err
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(ctx)
	if err := conn.QueryRow(ctx, "select clock_timestamp()").Scan(&moment); err != nil {
		return nil, time.Time{}, fmt.Errorf("read the clock: %w", err)
	}
	tag, err := conn.Exec(ctx, "delete from "+lost)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("lose the table: %w", err)
	}
	s.sayf("accident: delete from %s took %d rows, just after %s", lost, tag.RowsAffected(), moment.UTC().Format(time.RFC3339Nano))
	return before, moment, nil
}

// settle waits until every copy holds everything that the primary has committed.
func (s *stage) settle(ctx context.Context, service *daemon.Service, stream *folded) error {
	ctx, cancel := context.WithTimeout(ctx, catchUp)
	defer cancel()
	var text string
	if err := scalar(ctx, s.primary.URL(application), "select pg_current_wal_flush_lsn()::text", &text); err != nil {
		return err
	}
	end, err := position.ParseLSN(text)
	if err != nil {
		return err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		waiting := ""
		for _, c := range service.State().Copies {
			if c.Position < end {
				waiting = fmt.Sprintf("%s is at %s (%s %s)", c.Name, c.Position, c.State, c.Reason)
			}
		}
		if waiting == "" {
			read, err := stream.caughtUp(ctx)
			if err != nil {
				return err
			}
			if !read {
				waiting = "the subscriber has not read everything"
			}
		}
		if waiting == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the copies to reach %s: %s", end, waiting)
		case <-tick.C:
		}
	}
}

func (s *stage) same(ctx context.Context, name string, want map[string]string, url string) (bool, error) {
	got, err := digests(ctx, url)
	if err != nil {
		return false, err
	}
	if diff := difference(want, got); len(diff) > 0 {
		s.sayf("  %s DIFFERS in %s", name, strings.Join(diff, ", "))
		for _, t := range diff {
			s.sayf("    %s: want %s, got %s", t, want[t], got[t])
		}
		return false, nil
	}
	s.sayf("  %s is equal in all %d tables", name, len(want))
	return true, nil
}

func (s *stage) compareStream(ctx context.Context, stream *folded, want map[string]string, result *Result) error {
	result.NATS.Messages = stream.count()
	result.NATS.LagP50, result.NATS.LagP99 = quantiles(stream.latencies())
	if err := stream.pour(ctx, s.standby.URL(foldName)); err != nil {
		s.sayf("  stream DIFFERS: %v", err)
		return nil // reported as not verified
	}
	var err error
	result.NATS.Verified, err = s.same(ctx, "stream, folded", want, s.standby.URL(foldName))
	return err
}

func (s *stage) restore(ctx context.Context, moment time.Time, want map[string]string, result *Result) error {
	bucket, err := archive.OpenBucket(ctx, s.cfg.Sinks.Archive.URL)
	if err != nil {
		return err
	}
	for object, err := range bucket.List(ctx, "", "") {
		if err != nil {
			return fmt.Errorf("list archive: %w", err)
		}
		result.Archive.Objects++
		result.Archive.Bytes += object.Size
	}
	result.Restore.Target = moment.UTC().Format(time.RFC3339Nano)
	s.sayf("restoring to %s …", result.Restore.Target)
	start := time.Now()
	if _, err := restore.To(ctx, bucket, restore.Target{Time: position.TimeOf(moment)}, s.standby.URL(restoreName), restore.Options{}, s.opts.Log); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	result.Restore.Seconds = time.Since(start).Seconds()
	result.Restore.Verified, err = s.same(ctx, "restored database", want, s.standby.URL(restoreName))
	return err
}

// quantiles gives median and 99th percentile in milliseconds; 0 without samples.
func quantiles(lags []time.Duration) (p50, p99 float64) {
	if len(lags) == 0 {
		return 0, 0
	}
	sorted := slices.Sorted(slices.Values(lags))
	at := func(q float64) float64 {
		return float64(sorted[int(q*float64(len(sorted)-1))].Microseconds()) / 1000
	}
	return at(0.5), at(0.99)
}

func execute(ctx context.Context, url, sql string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("prepare the demo's servers: %w", err)
	}
	return nil
}

func scalar(ctx context.Context, url, sql string, into *string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(ctx)
	if err := conn.QueryRow(ctx, sql).Scan(into); err != nil {
		return fmt.Errorf("ask the primary: %w", err)
	}
	return nil
}
