package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"tidemark/integration/checker/check"
	"tidemark/integration/checker/fold"
	"tidemark/integration/checker/nemesis"
	"tidemark/integration/checker/oracle"
	"tidemark/integration/checker/workload"
	"tidemark/integration/checker/world"
)

// run is one run and what it consists of.
type run struct {
	cfg    Config
	dice   dice // of the director; whatever else needs chance has dice of its own, so that timing does not change a seed's choices
	worse  dice // of how bad a fault is
	tally  *tally
	faults *lines
	ops    *lines

	world    *world.World
	tables   []fold.Table
	timeline *fold.Timeline
	log      *oracle.Log
	sampler  *oracle.Sampler
	load     *workload.Load
	stream   *check.Stream
	standby  *check.Standby
	restore  *check.Restore
	journal  *check.Journal
	trace    *check.Trace
	nemesis  *nemesis.Nemesis

	standbyMu sync.Mutex // one look at the standby at a time
	baseMu    sync.Mutex // one base at a time
	covered   atomic.Uint64
	watch     watch
	started   time.Time // begin of the load
	ended     time.Time
}

// errDone ends the goroutines of a run that found nothing.
var errDone = errors.New("done")

// Run makes one run. The report is worth reading in any case; a violation is in it and no error. The error says why the run
// proves nothing: servers did not start, or the oracle contradicts itself.
func Run(ctx context.Context, cfg Config) (Report, error) {
	report := Report{Seed: cfg.Seed, Major: cfg.Major, Planted: cfg.Planted, Counts: map[string]int{}}
	if err := cfg.validate(); err != nil {
		return report, err
	}
	r := &run{cfg: cfg, dice: newDice(cfg.Seed, 0xd17ec7), worse: newDice(cfg.Seed, 0xbad), tally: newTally()}
	begin := time.Now()
	err := r.whole(ctx)
	report.Seconds = time.Since(begin).Seconds()
	r.count()
	report.Counts = r.tally.copy()
	return r.verdict(report, err)
}

// whole sets up, runs and takes down. What ends it, a violation included, is its error.
func (r *run) whole(ctx context.Context) (err error) {
	if r.faults, err = newLines(r.cfg.Dir, "faults.jsonl"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.faults.close()) }()
	if r.ops, err = newLines(r.cfg.Dir, "operations.jsonl"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.ops.close()) }()
	r.world, err = world.Start(ctx, r.worldConfig())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.world.Close()) }()
	if err := r.prepare(ctx); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	defer func() { err = errors.Join(err, r.log.Close()) }()
	err = r.everything(ctx)
	if err == nil {
		err = r.last(ctx)
	}
	return err
}

// last reads the trace's end once the service is told to stop: the checks before saw it running.
func (r *run) last(ctx context.Context) error {
	r.watch.takeDown()
	if err := r.terminate(ctx); err != nil {
		return err
	}
	return r.trace.Check()
}

// verdict turns what ended the run into the report and the error. Nothing is removed after a violation.
func (r *run) verdict(report Report, err error) (Report, error) {
	if found, ok := errors.AsType[*check.Violation](err); ok {
		report.Violation, report.Check, report.Dir = found.Error(), found.Check, r.cfg.Dir
		report.Detected = r.ended.Sub(r.started).Seconds()
		report.Repeat = r.repeat()
		r.write(report)
		return report, nil
	}
	if err == nil {
		err = r.idle(report)
	}
	if err != nil {
		report.Dir = r.cfg.Dir
		return report, err
	}
	if r.cfg.Keep {
		report.Dir = r.cfg.Dir
		r.write(report)
		return report, nil
	}
	return report, os.RemoveAll(r.cfg.Dir)
}

// idle says which check was never made in a run that was long enough for all. Such a run proves nothing.
func (r *run) idle(report Report) error {
	if r.cfg.Length < 30*time.Second {
		return nil
	}
	for _, name := range []string{
		"standby snapshots", "restores", "statuses", "journals checked offline", "quiet periods", "exact snapshots: samples", "stream: transactions",
		"trace: ack", faultsCounted,
	} {
		if report.Counts[name] == 0 {
			return fmt.Errorf("the run counted no %s", name)
		}
	}
	return nil
}

// repeat is the command that makes the same run again.
func (r *run) repeat() string {
	command := fmt.Sprintf("make check SEED=%d MINUTES=%g PG=%d", r.cfg.Seed, r.cfg.Length.Minutes(), r.cfg.Major)
	var flags []string
	if r.cfg.Sessions != 0 {
		flags = append(flags, fmt.Sprintf("-sessions %d", r.cfg.Sessions))
	}
	if r.cfg.Rate != 0 {
		flags = append(flags, fmt.Sprintf("-rate %g", r.cfg.Rate))
	}
	if r.cfg.Planted != "" { // with a program that has it
		flags = append(flags, "-bin bin/tidemark-planted -planted "+r.cfg.Planted)
	}
	if len(flags) > 0 {
		command += fmt.Sprintf(" CHECKFLAGS=%q", strings.Join(flags, " "))
	}
	return command
}

func (r *run) write(report Report) {
	// The report is printed too, so it may be missing here.
	_ = os.WriteFile(filepath.Join(r.cfg.Dir, "report.json"), []byte(report.JSON()+"\n"), 0o600)
}

// everything runs all parts at once until the director is done or something ends it.
func (r *run) everything(ctx context.Context) error {
	r.started = time.Now()
	group, ctx := errgroup.WithContext(ctx)
	var found first
	for _, part := range []func(context.Context) error{
		r.load.Run, r.log.Run, r.sampler.Run, r.stream.Run, r.standbys, r.restores, r.bases, r.statuses, r.traces, r.supervise,
	} {
		group.Go(func() error { return found.keep(quietly(ctx, part)) })
	}
	group.Go(func() error {
		if err := quietly(ctx, r.direct); err != nil {
			return found.keep(err)
		}
		return errDone
	})
	err := group.Wait()
	r.ended = time.Now()
	// One that was found while the run came to its end counts like any other.
	err = cmp.Or(found.violation, err)
	if errors.Is(err, errDone) {
		return nil
	}
	return err
}

// first keeps the first violation of many goroutines.
type first struct {
	mu        sync.Mutex
	violation error
}

func (f *first) keep(err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.violation == nil && isViolation(err) {
		f.violation = err
	}
	return err
}

// quietly takes the end of the run for no error.
func quietly(ctx context.Context, part func(context.Context) error) error {
	err := part(ctx)
	if ctx.Err() != nil && !isViolation(err) {
		return nil
	}
	return err
}
