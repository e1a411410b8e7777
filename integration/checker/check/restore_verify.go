package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5"

	"tidemark/internal/position"

	"tidemark/integration/checker/fold"
)

// report is what `restore --json` says.
type report struct {
	Base         position.LSN `json:"base_lsn"`
	LSN          position.LSN
	Time         time.Time
	Transactions int64
	Changes      int64
	Inversions   int64
}

// verify compares a restored database with the timeline.
func (r *Restore) verify(ctx context.Context, j job, db database, stdout string) (position.LSN, map[string]fold.Sum, error) {
	var said report
	if err := json.Unmarshal([]byte(stdout), &said); err != nil {
		return 0, nil, Violated(restoreCheck, j.covered, "restore to %s: what it printed is no report: %v", j.target, err)
	}
	violated := func(format string, args ...any) error {
		return Violated(restoreCheck, said.LSN, "restore to %s from the base at %s: %s", j.target, said.Base, fmt.Sprintf(format, args...))
	}
	if err := r.Timeline.Wait(ctx, said.LSN); err != nil {
		return 0, nil, err
	}
	wrong, err := r.place(ctx, j, said)
	if wrong == "" && err == nil {
		wrong = r.reported(said)
	}
	if err != nil {
		return 0, nil, err
	}
	if wrong != "" {
		return 0, nil, violated("%s", wrong)
	}
	sums, err := r.contents(ctx, db, said)
	var v *Violation
	switch {
	case errors.As(err, &v):
		return 0, nil, violated("%s", v.Detail)
	case err != nil && ctx.Err() == nil: // a table may be missing
		return 0, nil, errFailed{err.Error()}
	}
	return said.LSN, sums, err
}

// place says what is wrong with the place where the restore ended. It may also stand at a frontier, or behind transactions of which
// no subscriber hears.
func (r *Restore) place(ctx context.Context, j job, said report) (string, error) {
	beyond := j.lsn > j.before.top() || j.moment().After(j.before.latest()) || j.lsn == 0 && said.LSN > j.before.top()
	after := j.before
	if beyond { // what matters is what the archive held meanwhile
		var err error
		if after, err = r.list(ctx); err != nil {
			return "", err
		}
		if err := r.Timeline.Wait(ctx, after.top()); err != nil {
			return "", err
		}
	}
	end := j.lsn
	switch {
	case r.mustRefuse(j, after):
		return fmt.Sprintf("it succeeded, but the archive covers %s to %s only", j.before.Bases[0].LSN, after.top()), nil
	case said.LSN > after.top():
		return fmt.Sprintf("it says that it ended behind the archive, which ends at %s", after.top()), nil
	case j.lsn != 0 && said.LSN > j.lsn:
		return "it says that it ended behind the target", nil
	case !j.time.IsZero():
		end = r.Timeline.Prefix(j.moment())
	case j.lsn == 0:
		end = max(j.covered, j.before.top())
		if said.LSN > end {
			return "", nil
		}
	}
	if e := firstPublished(r.Timeline.Transactions(said.LSN, max(said.LSN, end))); e != nil && e.End <= max(j.covered, j.before.top()) {
		return fmt.Sprintf("transaction %s (xid %d, committed %s) belongs to it and is missing", e.End, e.XID, micro(e.Commit)), nil
	}
	if e := firstPublished(r.Timeline.Transactions(end, max(said.LSN, end))); e != nil {
		return fmt.Sprintf("transaction %s (xid %d, committed %s) does not belong to it", e.End, e.XID, micro(e.Commit)), nil
	}
	return "", nil
}

func firstPublished(entries []fold.Entry) *fold.Entry {
	for i := range entries {
		if entries[i].Published {
			return &entries[i]
		}
	}
	return nil
}

// reported says what is wrong with the rest of the report. Where the timeline begins behind the base it does not know everything that was
// replayed.
func (r *Restore) reported(said report) string {
	if r.lastEnd(said.Base) == 0 {
		return ""
	}
	var transactions, changes, inversions int64
	var latest time.Time
	var last *fold.Entry
	list := r.Timeline.Transactions(said.Base, max(said.Base, said.LSN))
	for i, e := range list {
		if !e.Published {
			continue
		}
		transactions++
		for _, c := range e.Counts {
			changes += int64(c.N)
		}
		if e.Commit.Before(latest) {
			inversions++
		}
		latest, last = later(latest, e.Commit), &list[i]
	}
	switch {
	case said.Transactions != transactions:
		return fmt.Sprintf("it says that it replayed %d transactions, there are %d", said.Transactions, transactions)
	case said.Changes != changes:
		return fmt.Sprintf("it says that it replayed %d changes, there are %d", said.Changes, changes)
	case said.Inversions != inversions:
		return fmt.Sprintf("it says that there were %d inversions of commit times, there are %d", said.Inversions, inversions)
	case last != nil && last.Commit.UnixMicro() != said.Time.UnixMicro():
		return fmt.Sprintf("it says that the last transaction committed at %s, it did at %s", micro(said.Time), micro(last.Commit))
	}
	return ""
}

// contents compares progress row and tables, and returns the tables' sums.
func (r *Restore) contents(ctx context.Context, db database, said report) (map[string]fold.Sum, error) {
	conn, err := db.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer closeConn(ctx, conn)
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, fmt.Errorf("begin on restored database: %w", err)
	}
	at, err := readProgress(ctx, tx)
	if err != nil {
		return nil, err
	}
	if at.lsn != said.LSN {
		return nil, Violated(restoreCheck, said.LSN, "the progress row is at %s", at.lsn)
	}
	var sums map[string]fold.Sum
	s := &Standby{Tables: r.Tables, Timeline: r.Timeline, Truth: r.Truth, Rows: r.Rows}
	s.Digest = func(ctx context.Context, tx pgx.Tx, tables []fold.Table) (_ map[string]fold.Sum, err error) {
		sums, err = r.Digest(ctx, tx, tables)
		return sums, err
	}
	if err := s.compare(ctx, tx, at); err != nil {
		return nil, err
	}
	return sums, s.generated(ctx, tx, at.lsn)
}

// database is one that a restore is for.
type database struct{ name, url string }

func (d database) connect(ctx context.Context) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(d.url)
	if err != nil {
		return nil, fmt.Errorf("read URL of database %s: %w", d.name, err)
	}
	maps.Copy(cfg.RuntimeParams, canonical)
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to database %s: %w", d.name, err)
	}
	return conn, nil
}

// touched reports whether there is anything in it.
func (d database) touched(ctx context.Context) (bool, error) {
	conn, err := d.connect(ctx)
	if err != nil {
		return false, err
	}
	defer closeConn(ctx, conn)
	var n int
	err = conn.QueryRow(ctx, `select (select count(*) from pg_namespace where nspname !~ '^pg_' and nspname not in ('information_schema', 'public'))
  + (select count(*) from pg_class where relnamespace = 'public'::regnamespace)`).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("look at database %s: %w", d.name, err)
	}
	return n > 0, nil
}

// create makes an empty database.
func (r *Restore) create(ctx context.Context) (database, error) {
	u, err := url.Parse(r.AdminURL)
	if err != nil {
		return database{}, fmt.Errorf("read URL of scratch server: %w", err)
	}
	db := database{name: fmt.Sprintf("restored_%x", rand.Uint64())} // not from r.Rand: a run that is repeated may find the server as it was left
	u.Path = "/" + db.name
	db.url = u.String()
	return db, r.admin(ctx, "create database "+db.name+" template template0")
}

// drop is tried once: a database too many does no harm.
func (r *Restore) drop(ctx context.Context, db database) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := r.admin(ctx, "drop database "+db.name+" with (force)"); err != nil {
		r.Log.Debug("a restored database stays", "err", err)
	}
}

func (r *Restore) admin(ctx context.Context, statement string) error {
	conn, err := pgx.Connect(ctx, r.AdminURL)
	if err != nil {
		return fmt.Errorf("connect to scratch server: %w", err)
	}
	defer closeConn(ctx, conn)
	if _, err := conn.Exec(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}
