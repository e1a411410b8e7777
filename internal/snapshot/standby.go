package snapshot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"tidemark/internal/apply"
	"tidemark/internal/archive"
	"tidemark/internal/position"
	"tidemark/internal/postgres"
)

// StandbyOptions say what is seeded from where.
type StandbyOptions struct {
	SourceURL, TargetURL string
	Publication          string
	// Slot is the main slot. It must exist: what is committed after the snapshot comes through it.
	Slot string
	// Jobs is how many tables are copied at a time, 2 when zero; each job takes a connection to either side.
	Jobs int
	// Force drops everything in the target database first.
	Force bool
	// Progress may be nil.
	Progress Progress
	Log      *slog.Logger
}

// Report is what was copied.
type Report struct {
	LSN    position.LSN
	Time   time.Time // on the source's clock
	Tables int
	Rows   int64
	Took   time.Duration
}

// fenceWait is how long a standby sink that is just ending may still hold its lock.
const fenceWait = 2 * time.Second

// defaultJobs is how many tables are copied at a time.
const defaultJobs = 2

// SeedStandby makes the target a copy of the source's published tables at one LSN, schema included, and writes that LSN as its
// progress: the standby sink goes on from there. It refuses a target that is not empty (ErrNotEmpty) and one that a
// running standby sink is applying to. What fails half-way has no progress and is begun again with Force.
func SeedStandby(ctx context.Context, opts StandbyOptions) (Report, error) {
	start := time.Now()
	s := &seed{StandbyOptions: opts, told: orSilent(opts.Progress)}
	if s.Jobs < 1 {
		s.Jobs = defaultJobs
	}
	defer s.close()
	for _, step := range []func(context.Context) error{s.connect, s.export, s.prepareTarget, s.before, s.rows, s.after, s.finish} {
		if err := step(ctx); err != nil {
			return Report{}, err
		}
	}
	return Report{LSN: s.taken.LSN, Time: s.taken.Time, Tables: len(s.source.tables), Rows: s.copied.Load(), Took: time.Since(start)}, nil
}

type seed struct {
	StandbyOptions
	told Progress

	main    *pgx.Conn      // SQL session on the source
	target  *pgx.Conn      // runs the schema
	fence   *apply.Applier // holds the stream's lock on the target
	workers []*pgx.Conn    // on the target, one for each of source's sessions
	*taken
	sequences []archive.Sequence
	copied    atomic.Int64
}

func (s *seed) connect(ctx context.Context) (err error) {
	if s.main, err = connect(ctx, s.SourceURL); err != nil {
		return fmt.Errorf("connect to source: %w", err)
	}
	if s.target, err = connect(ctx, s.TargetURL); err != nil {
		return fmt.Errorf("connect to target: %w", err)
	}
	return checkTarget(ctx, s.main, s.target, s.Force)
}

// export takes the snapshot and everything that is read with it but the rows. The slot is looked at first: what it has
// confirmed by then is in the snapshot, and everything behind it in the journal.
func (s *seed) export(ctx context.Context) (err error) {
	confirmed, err := checkSlot(ctx, s.main, s.Slot)
	if err != nil {
		return err
	}
	if s.taken, err = take(ctx, s.SourceURL, s.Publication, s.Jobs, s.Log); err != nil {
		return err
	}
	if confirmed > s.taken.LSN {
		return fmt.Errorf("check replication slot %q: it has confirmed %s, which is behind the snapshot at %s; drop it and run tidemark init",
			s.Slot, confirmed, s.taken.LSN)
	}
	s.sequences, err = sequences(ctx, s.source.conns[0])
	return err
}

// checkSlot returns what the main slot has confirmed.
func checkSlot(ctx context.Context, conn *pgx.Conn, name string) (position.LSN, error) {
	var fit bool
	var confirmed string
	err := conn.QueryRow(ctx, `select coalesce(plugin = 'pgoutput' and database = current_database() and wal_status <> 'lost' and restart_lsn is not null, false),
  coalesce(confirmed_flush_lsn, '0/0')::text from pg_replication_slots where slot_name = $1`, name).Scan(&fit, &confirmed)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, fmt.Errorf("check replication slot %q: it does not exist, and what is committed during the copy would be lost; run tidemark init first", name)
	}
	if err != nil {
		return 0, fmt.Errorf("check replication slot %q: %w", name, postgres.Explain(err))
	}
	if !fit {
		return 0, fmt.Errorf("check replication slot %q: it is lost, or not a slot of pgoutput in this database; run tidemark check", name)
	}
	return position.ParseLSN(confirmed)
}

// prepareTarget keeps the standby sink out, takes back the word that the target is seeded, and empties it.
func (s *seed) prepareTarget(ctx context.Context) (err error) {
	s.fence, err = apply.Open(ctx, apply.Config{URL: s.TargetURL, Stream: s.taken.Stream(), Name: application, LockWait: fenceWait}, s.Log)
	if err != nil {
		return fmt.Errorf("prepare target: %w", err)
	}
	if err := unseed(ctx, s.target, s.Force); err != nil {
		return err
	}
	if s.Force {
		return clear(ctx, s.target)
	}
	return nil
}

func (s *seed) before(ctx context.Context) error {
	if err := postgres.ExecScript(ctx, s.target, s.pre); err != nil {
		return fmt.Errorf("make schema on target: %w", err)
	}
	return nil
}

func (s *seed) rows(ctx context.Context) error {
	for range s.source.conns {
		conn, err := connect(ctx, s.TargetURL)
		if err != nil {
			return fmt.Errorf("connect to target: %w", err)
		}
		s.workers = append(s.workers, conn)
	}
	s.told.Plan(s.source.tables)
	return s.source.each(ctx, func(ctx context.Context, worker int, source *pgx.Conn, table int) error {
		n, err := pipe(ctx, source, s.workers[worker], s.source.tables[table], s.told)
		if err != nil {
			return err
		}
		s.copied.Add(n)
		s.told.Done(s.source.tables[table])
		return nil
	})
}

func (s *seed) after(ctx context.Context) error {
	s.source.release() // the source's tables are free from here on
	if err := postgres.ExecScript(ctx, s.target, s.post); err != nil {
		return fmt.Errorf("make indexes and constraints on target: %w", err)
	}
	return nil
}

// finish sets the sequences and writes the progress row, in one transaction: now the target is seeded.
func (s *seed) finish(ctx context.Context) error {
	tx, err := s.target.Begin(ctx)
	if err != nil {
		return fmt.Errorf("finish target: %w", postgres.Explain(err))
	}
	if err := setSequences(ctx, tx, s.sequences); err != nil {
		return errors.Join(err, tx.Rollback(ctx))
	}
	// The commit time of the last transaction in the copy is not known.
	if err := apply.SetProgress(ctx, tx, s.taken.Stream(), s.taken.LSN, 0); err != nil {
		return errors.Join(err, tx.Rollback(ctx))
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("finish target: %w", postgres.Explain(err))
	}
	return nil
}

// close gives back the source first.
func (s *seed) close() {
	if s.taken != nil {
		if err := s.taken.close(); err != nil {
			s.Log.Warn("close snapshot", "error", err)
		}
	}
	for _, conn := range append(s.workers, s.main, s.target) {
		if conn != nil {
			closeSession(conn)
		}
	}
	if s.fence != nil {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		if err := s.fence.Close(ctx); err != nil {
			s.Log.Debug("close target", "error", err)
		}
	}
}
