package check

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"tidemark/internal/position"

	"tidemark/integration/checker/fold"
)

const standbyCheck = "standby"

// Standby compares a standby with the timeline at the position that its own progress row gives. It is for one goroutine.
type Standby struct {
	URL      string // of the server itself, not of a proxy
	Tables   []fold.Table
	Timeline *fold.Timeline
	Truth    Truth // may be nil: no keys in a Violation

	// Digest gives the tables' sums and Rows a table's rows as fold.State.Rows does, both in the snapshot of the transaction given (package oracle).
	Digest func(ctx context.Context, tx pgx.Tx, tables []fold.Table) (map[string]fold.Sum, error)
	Rows   func(ctx context.Context, tx pgx.Tx, table fold.Table) (map[string]uint64, error)

	// Seeded says that the standby was seeded before the first Check. It is set once a Check has seen a progress row; from then on there is
	// exactly one.
	Seeded bool

	last position.LSN // where the standby was at the check before
}

// Check looks at the standby once, in one snapshot, and returns where it was. The standby may never be further back than at
// the check before, even if its server crashed in between: it commits synchronously.
func (s *Standby) Check(ctx context.Context) (position.LSN, error) {
	cfg, err := pgx.ParseConfig(s.URL)
	if err != nil {
		return 0, fmt.Errorf("read standby URL: %w", err)
	}
	maps.Copy(cfg.RuntimeParams, canonical)
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return 0, fmt.Errorf("connect to standby: %w", err)
	}
	defer closeConn(ctx, conn)
	tx, at, err := s.snapshot(ctx, conn)
	if v, ok := errors.AsType[*Violation](err); ok && !s.Seeded {
		err = fmt.Errorf("the standby is not seeded: %s", v.Detail)
	}
	if err != nil {
		return 0, err
	}
	s.Seeded = true
	if at.lsn < s.last {
		return at.lsn, Violated(standbyCheck, at.lsn, "it was at %s before", s.last)
	}
	if err := s.compare(ctx, tx, at); err != nil {
		return at.lsn, err
	}
	if err := s.generated(ctx, tx, at.lsn); err != nil {
		return at.lsn, err
	}
	s.last = at.lsn
	return at.lsn, nil
}

// canonical settings, under which text is the same on every server.
var canonical = map[string]string{
	"datestyle": "ISO", "intervalstyle": "postgres", "extra_float_digits": "3", "bytea_output": "hex", "timezone": "UTC",
	"client_encoding": "UTF8", "search_path": "", "application_name": "checker", "jit": "off",
}

func closeConn(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // whatever it had to say no longer matters
}

// progress is what the progress row says.
type progress struct {
	lsn    position.LSN
	commit *time.Time
}

const lockNotAvailable = "55P03" // https://www.postgresql.org/docs/current/errcodes-appendix.html

// snapshot begins a transaction that sees one moment of the standby. A snapshot does not tell a TRUNCATE that commits behind it from
// rows that were never there, so the tables are locked first: LOCK takes no snapshot, the first query does
// (https://www.postgresql.org/docs/current/sql-lock.html). Waiting for a lock while others are held could end in a deadlock with the
// applier, so it does not wait but tries again.
func (s *Standby) snapshot(ctx context.Context, conn *pgx.Conn) (pgx.Tx, progress, error) {
	for {
		tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
		if err != nil {
			return nil, progress{}, fmt.Errorf("begin on standby: %w", err)
		}
		err = s.lock(ctx, tx)
		if err == nil {
			at, err := readProgress(ctx, tx)
			return tx, at, err
		}
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != lockNotAvailable {
			return nil, progress{}, fmt.Errorf("lock the standby's tables: %w", err)
		}
		if err := tx.Rollback(ctx); err != nil {
			return nil, progress{}, fmt.Errorf("roll back on standby: %w", err)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return nil, progress{}, fmt.Errorf("lock the standby's tables: %w", context.Cause(ctx))
		}
	}
}

func (s *Standby) lock(ctx context.Context, tx pgx.Tx) error {
	if len(s.Tables) == 0 {
		return nil
	}
	names := make([]string, len(s.Tables))
	for i, t := range s.Tables {
		names[i] = "only " + identifier(t)
	}
	_, err := tx.Exec(ctx, "lock table "+strings.Join(names, ", ")+" in access share mode nowait", pgx.QueryExecModeSimpleProtocol)
	return err
}

func identifier(t fold.Table) string { return pgx.Identifier{t.Schema, t.Name}.Sanitize() }

// readProgress reads the one row that there is in a copy that has been seeded.
func readProgress(ctx context.Context, tx pgx.Tx) (progress, error) {
	var at progress
	rows, err := tx.Query(ctx, "select end_lsn::text, commit_time from tidemark.progress")
	if err != nil {
		return at, fmt.Errorf("read the standby's progress: %w", err)
	}
	n, text := 0, ""
	_, err = pgx.ForEachRow(rows, []any{&text, &at.commit}, func() error { n++; return nil })
	if err != nil {
		return at, fmt.Errorf("read the standby's progress: %w", err)
	}
	if n != 1 {
		return at, Violated(standbyCheck, 0, "tidemark.progress: it has %d rows", n)
	}
	if at.lsn, err = position.ParseLSN(text); err != nil {
		return at, fmt.Errorf("read the standby's progress: %w", err)
	}
	return at, nil
}
