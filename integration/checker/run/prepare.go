package run

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"tidemark/integration/checker/check"
	"tidemark/integration/checker/fold"
	"tidemark/integration/checker/nemesis"
	"tidemark/integration/checker/oracle"
	"tidemark/integration/checker/workload"
	"tidemark/integration/checker/world"
)

func (r *run) worldConfig() world.Config {
	c := world.Config{Bin: r.cfg.Bin, Dir: r.cfg.Dir, Major: r.cfg.Major, Log: r.cfg.Log, Trace: true}
	if r.cfg.Planted != "" {
		c.Env = append(c.Env, "TIDEMARK_PLANTED="+r.cfg.Planted)
	}
	return c
}

// prepare makes everything that must be there before the first transaction. The order matters: every copy begins with empty tables.
func (r *run) prepare(ctx context.Context) error {
	conn, err := oracle.Connect(ctx, r.world.Primary.URL())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	if err := workload.Schema(ctx, conn); err != nil {
		return err
	}
	if r.tables, err = oracle.Tables(ctx, conn); err != nil {
		return err
	}
	for _, args := range [][]string{{"init"}, {"snapshot", "standby"}, {"snapshot", "archive"}} {
		if err := r.must(ctx, args...); err != nil {
			return err
		}
	}
	r.timeline = fold.NewTimeline(r.tables)
	if err := r.oracle(ctx); err != nil {
		return err
	}
	r.checks()
	r.loadAndFaults()
	if err := r.world.Service.Start(ctx); err != nil {
		return err
	}
	return r.ready(ctx)
}

// ready waits for the service's first status. Before that there is no journal, and a source that is away ends the service.
func (r *run) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, catchUp)
	defer cancel()
	return retry(ctx, 50*time.Millisecond, func(ctx context.Context) error {
		s, err := r.world.Service.Status(ctx)
		if err == nil && !s.Source.Connected {
			err = fmt.Errorf("the service is not connected: %s", s.Source.Reason)
		}
		return err
	})
}

func (r *run) must(ctx context.Context, args ...string) error {
	result, err := r.world.Service.Command(ctx, args...)
	if err == nil && result.Code != 0 {
		err = fmt.Errorf("it exits %d: %s", result.Code, result.Stderr)
	}
	if err != nil {
		return fmt.Errorf("tidemark %v: %w", args, err)
	}
	return nil
}

// oracle makes the reference slot before anything is written, and the sampler that proves the log.
func (r *run) oracle(ctx context.Context) (err error) {
	url := r.world.Primary.URL()
	r.log, err = oracle.NewLog(ctx, oracle.LogConfig{URL: url, Tables: r.tables, Timeline: r.timeline, History: filepath.Join(r.cfg.Dir, "history"), Log: r.cfg.Log})
	if err != nil {
		return err
	}
	r.sampler = oracle.NewSampler(oracle.SamplerConfig{URL: url, Tables: r.tables, Timeline: r.timeline, Rows: r.log.Rows, Seed: r.cfg.Seed, Log: r.cfg.Log})
	return nil
}

func digest(ctx context.Context, tx pgx.Tx, tables []fold.Table) (map[string]fold.Sum, error) {
	return oracle.Digest(ctx, tx, tables)
}

func rows(ctx context.Context, tx pgx.Tx, table fold.Table) (map[string]uint64, error) {
	return oracle.Rows(ctx, tx, table)
}

func (r *run) checks() {
	w, truth := r.world, r.log.Rows
	r.stream = check.NewStream(check.StreamConfig{URL: w.NATSURL(), Name: world.Stream, Tables: r.tables, Timeline: r.timeline, Truth: truth, Log: r.cfg.Log})
	r.standby = &check.Standby{URL: w.Standby.URL(), Tables: r.tables, Timeline: r.timeline, Truth: truth, Digest: digest, Rows: rows, Seeded: true}
	r.restore = &check.Restore{
		Command: r.command, ArchiveURL: w.ArchiveURL(), AdminURL: w.Scratch.URL(), Tables: r.tables, Timeline: r.timeline, Truth: truth,
		Digest: digest, Rows: rows, Healthy: r.storeUp, MustHaveBase: true, Rand: rand.New(rand.NewPCG(r.cfg.Seed, 0x4e57)), Log: r.cfg.Log,
	}
	r.journal = &check.Journal{Command: r.command, Dir: w.Service.JournalDir(), Timeline: r.timeline, Rand: rand.New(rand.NewPCG(r.cfg.Seed, 0xf11b)), Log: r.cfg.Log}
	r.trace = &check.Trace{File: w.Service.TraceFile(), Log: r.cfg.Log}
}

func (r *run) command(ctx context.Context, args ...string) (code int, stdout, stderr string, err error) {
	result, err := r.world.Service.Command(ctx, args...)
	return result.Code, result.Stdout, result.Stderr, err
}

// storeUp says whether a restore has no excuse.
func (r *run) storeUp() bool { return r.world.S3.Running() && r.world.Scratch.Running() }

func (r *run) loadAndFaults() {
	sessions, rate := r.cfg.Sessions, r.cfg.Rate
	if sessions == 0 {
		sessions = []int{1, 2, 4, 8, 8, 16, 32}[r.dice.roll(7)]
	}
	if rate == 0 {
		rate = 300
	}
	r.load = workload.New(workload.Config{
		URL: r.world.Primary.URL(), Slot: world.Slot, Seed: r.cfg.Seed, Sessions: sessions, Rate: rate, Log: r.cfg.Log,
		Journal: func(e workload.Entry) { r.ops.add(e) },
	})
	r.nemesis = nemesis.New(r.faultsOf(), r.cfg.Seed, func(e nemesis.Entry) { r.faults.add(e) })
	r.cfg.Log.Info("load", "sessions", sessions, "rate", rate, "directory", filepath.Clean(r.cfg.Dir))
}
