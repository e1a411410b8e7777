package restore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"tidemark/internal/apply"
	"tidemark/internal/archive"
	"tidemark/internal/objstore"
	"tidemark/internal/position"
	"tidemark/internal/postgres"
)

// Options say how a plan is carried out. The zero value is good.
type Options struct {
	// Jobs is how many parts of the base are loaded at a time, 2 when zero; each takes a connection to the target and
	// memory for one part.
	Jobs int
	// Force restores into a database that is not empty, such as one that an interrupted restore left: everything in it is
	// dropped first, all schemas but the system's.
	Force bool
	// Progress may be nil.
	Progress Progress
}

// Progress hears how far a restore has come. Calls come from one goroutine at a time. stage is "rows", then "changes"; done
// and total are bytes of the archive as stored.
type Progress func(stage string, done, total int64)

const (
	application  = "tidemark restore"
	defaultJobs  = 2
	lockWait     = 2 * time.Second
	closeTimeout = 5 * time.Second
)

// Report is what was restored.
type Report struct {
	Target   string       `json:"target"`
	Base     position.LSN `json:"base_lsn"`
	BaseTime time.Time    `json:"base_time"`
	// LSN is the end of the last transaction that the database holds, the base's LSN when none was replayed; Time is when that
	// transaction committed, the base's time when none was replayed.
	LSN  position.LSN `json:"lsn"`
	Time time.Time    `json:"time"`
	// Transactions and Changes were replayed; BaseRows came from the base. Tidemark's own tables are not counted in Changes.
	Transactions int64   `json:"transactions"`
	Changes      int64   `json:"changes"`
	BaseRows     int64   `json:"base_rows"`
	Tables       []Table `json:"tables"`
	// Inversions counts replayed transactions that committed earlier, by the source's clock, than one before them. LeftOut says that
	// transactions behind the target committed at or before its time and are not in the database: name an LSN to reach them.
	Inversions int64 `json:"inversions"`
	LeftOut    bool  `json:"left_out"`
	// StaleViews are materialized views that could not be refreshed: they hold what the base had.
	StaleViews []string `json:"stale_views,omitempty"`
	Seconds    float64  `json:"seconds"`
	// Next is what to do now, for people.
	Next string `json:"next"`
}

// Table is what was restored of a table.
type Table struct {
	Schema   string `json:"schema"`
	Name     string `json:"name"`
	BaseRows int64  `json:"base_rows"`
	Changes  int64  `json:"changes"`
}

// To plans and runs: it makes the target database what the bucket's source was at target.
func To(ctx context.Context, bucket objstore.Bucket, target Target, url string, opts Options, log *slog.Logger) (Report, error) {
	store, err := archive.OpenStore(ctx, bucket)
	if err != nil {
		return Report{}, err
	}
	plan, err := Prepare(ctx, store, target)
	if err != nil {
		return Report{}, err
	}
	return Run(ctx, store, plan, url, opts, log)
}

// Prepare lists the archive and makes a plan. It reads the object within which a base lies when the source's clock may have been set
// back there.
func Prepare(ctx context.Context, store *archive.Store, target Target) (Plan, error) {
	if err := target.Validate(); err != nil {
		return Plan{}, err
	}
	bases, damaged, err := store.Bases(ctx)
	if err != nil {
		return Plan{}, err
	}
	objects, err := store.Objects(ctx)
	if err != nil {
		return Plan{}, err
	}
	plan, err := choosePlan(ctx, store, bases, objects, target)
	if err != nil && len(damaged) > 0 {
		return Plan{}, fmt.Errorf("%w; %d bases cannot be used: %s", err, len(damaged), damaged[0].Reason)
	}
	plan.Damaged = damaged
	return plan, err
}

// Run carries out a plan on the database at url. See the package comment for what an error leaves behind.
func Run(ctx context.Context, store *archive.Store, plan Plan, url string, opts Options, log *slog.Logger) (Report, error) {
	begun := time.Now()
	if opts.Jobs < 1 {
		opts.Jobs = defaultJobs
	}
	r := &restore{store: store, plan: plan, url: url, opts: opts, log: log, known: map[string]int{}}
	defer r.close()
	for _, step := range []func(context.Context) error{
		r.look, r.empty, r.before, r.rows, r.after, r.seed, r.replay, r.sequences, r.views,
	} {
		if err := step(ctx); err != nil {
			return Report{}, fmt.Errorf("restore to %s: %w", plan.Target, err)
		}
	}
	r.report.Seconds = time.Since(begun).Seconds()
	r.finish()
	return r.report, nil
}

// restore is one run.
type restore struct {
	store *archive.Store
	plan  Plan
	url   string
	opts  Options
	log   *slog.Logger

	conn    *pgx.Conn      // runs the schema
	applier *apply.Applier // holds the stream's lock, and replays
	report  Report
	known   map[string]int // tables of the base, by schema.name, in report.Tables
}

func (r *restore) stream() string { return r.plan.Base.SystemID + "/" + r.plan.Base.Database }

// look makes sure that everything needed is there before anything is touched.
func (r *restore) look(ctx context.Context) (err error) {
	for _, p := range r.plan.Damaged {
		r.log.Warn("a base cannot be used", "manifest", p.Key, "reason", p.Reason)
	}
	if err := r.store.Check(ctx, r.plan.Objects); err != nil {
		return err
	}
	if err := r.store.CheckBase(ctx, r.plan.Base); err != nil {
		return err
	}
	r.report.Target, r.report.Base, r.report.BaseTime = r.plan.Target.String(), r.plan.Base.LSN, r.plan.Base.Time
	for i, t := range r.plan.Base.Tables {
		r.known[tableName(t.Schema, t.Name)] = i
		r.report.Tables = append(r.report.Tables, Table{Schema: t.Schema, Name: t.Name, BaseRows: t.Rows})
		r.report.BaseRows += t.Rows
	}
	if r.conn, err = r.connect(ctx); err != nil {
		return err
	}
	return r.checkTarget(ctx)
}

func tableName(schema, name string) string { return postgres.Ident(schema, name) }

func (r *restore) connect(ctx context.Context) (*pgx.Conn, error) {
	conn, err := postgres.Connect(ctx, r.url, application)
	if err != nil {
		return nil, fmt.Errorf("connect to target: %w", err)
	}
	return conn, nil
}

func (r *restore) before(ctx context.Context) error {
	return r.script(ctx, r.plan.Base.SchemaPre, "make schema")
}

func (r *restore) after(ctx context.Context) error {
	return r.script(ctx, r.plan.Base.SchemaPost, "make indexes and constraints")
}

func (r *restore) script(ctx context.Context, part archive.Part, what string) error {
	sql, err := again(ctx, func() ([]byte, error) { return r.store.ReadPart(ctx, part) })
	if err != nil {
		return err
	}
	if err := postgres.ExecScript(ctx, r.conn, sql); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// seed says that the target holds the base: replay goes on from there.
func (r *restore) seed(ctx context.Context) error {
	if err := apply.SetProgress(ctx, r.conn, r.stream(), r.plan.Base.LSN, 0); err != nil {
		return err
	}
	at, seeded, err := r.applier.Position(ctx)
	if err == nil && (!seeded || at != r.plan.Base.LSN) {
		err = fmt.Errorf("read progress: it is at %s, want %s", at, r.plan.Base.LSN)
	}
	r.report.LSN, r.report.Time = r.plan.Base.LSN, r.plan.Base.Time
	return err
}

func (r *restore) finish() {
	r.report.LeftOut = r.report.LeftOut || r.plan.Inverted
	r.report.Next = "look at the data, run ANALYZE, and point applications here; rights and roles are not restored"
	if r.report.LeftOut {
		r.report.Next = "the source's clock was set back: transactions behind this point committed at or before the target time and are left out; " +
			"to have them, restore to an LSN"
	}
}

func (r *restore) close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if r.applier != nil {
		if err := r.applier.Close(ctx); err != nil {
			r.log.Debug("close target", "error", err)
		}
	}
	if r.conn != nil {
		closeSession(ctx, r.conn)
	}
}

func closeSession(ctx context.Context, conn *pgx.Conn) {
	_ = conn.Close(ctx) // nothing of ours is open in it
	select {
	case <-conn.PgConn().CleanupDone():
	case <-ctx.Done():
	}
}

// again repeats a read for as long as the store may be back soon: a restore of hours must survive a flap of minutes.
func again[T any](ctx context.Context, read func() (T, error)) (T, error) {
	wait := 500 * time.Millisecond
	for try := 1; ; try++ {
		v, err := read()
		if err == nil || try == 8 || ctx.Err() != nil || final(err) {
			return v, err
		}
		select {
		case <-ctx.Done():
			return v, err
		case <-time.After(wait):
		}
		wait = min(2*wait, 20*time.Second)
	}
}

func final(err error) bool {
	for _, f := range []error{archive.ErrCorrupt, archive.ErrForeign, archive.ErrHole, objstore.ErrNotFound, objstore.ErrDenied} {
		if errors.Is(err, f) {
			return true
		}
	}
	return false
}
