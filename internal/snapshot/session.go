package snapshot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"

	"tidemark/internal/postgres"
)

// patience switches off every time limit that somebody may have given our role: sessions of ours wait for each other.
const patience = `select pg_catalog.set_config(name, '0', false) from pg_catalog.pg_settings where name in
  ('statement_timeout', 'lock_timeout', 'transaction_timeout', 'idle_session_timeout', 'idle_in_transaction_session_timeout')`

// connect opens a session that nobody's time limit ends.
func connect(ctx context.Context, url string) (*pgx.Conn, error) {
	conn, err := postgres.Connect(ctx, url, application)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, patience); err != nil {
		closeSession(conn)
		return nil, postgres.Explain(err)
	}
	return conn, nil
}

// sessions are the connections that read the source: all see the same snapshot, and all hold ACCESS SHARE locks on all tables.
type sessions struct {
	conns  []*pgx.Conn
	tables []Table
}

// lockTries bounds how often the sessions give up their locks for a statement that waits between them.
const lockTries = 20

// open opens n sessions in the snapshot and locks the published tables in all of them. n is at least 1.
func open(ctx context.Context, url string, e *Exported, publication string, n int, log *slog.Logger) (_ *sessions, err error) {
	s := &sessions{}
	defer func() {
		if err != nil {
			s.release()
		}
	}()
	for range n {
		conn, err := connect(ctx, url)
		if err != nil {
			return nil, fmt.Errorf("connect to source: %w", err)
		}
		s.conns = append(s.conns, conn)
	}
	for range lockTries {
		if err = s.lock(ctx, e, publication, log); postgres.Code(err) != lockNotAvailable {
			break
		}
	}
	return s, err
}

const lockNotAvailable = "55P03"

// lock begins the sessions' transactions and takes the locks. An error with lockNotAvailable means that somebody's
// stronger lock waits between ours: all must be given up, so that it goes through, and taken again.
func (s *sessions) lock(ctx context.Context, e *Exported, publication string, log *slog.Logger) (err error) {
	for _, conn := range s.conns {
		if err := begin(ctx, conn, e.Name); err != nil {
			return err
		}
	}
	if s.tables, err = Tables(ctx, s.conns[0], publication); err != nil || len(s.tables) == 0 {
		return err
	}
	names := make([]string, len(s.tables))
	for i, t := range s.tables {
		names[i] = "only " + t.ident()
	}
	command := "lock table " + strings.Join(names, ", ") + " in access share mode"
	stop := announce(log, "waiting for locks on the source's tables")
	defer stop()
	errs := make([]error, len(s.conns))
	var all sync.WaitGroup
	for i, conn := range s.conns {
		// All ask at the same moment, so that hardly anybody gets in between.
		all.Go(func() { errs[i] = lockTables(ctx, conn, command, i > 0) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return fmt.Errorf("lock the source's tables: %w", err)
		}
	}
	return nil
}

// lockTables waits for the locks; with brief only for a moment.
func lockTables(ctx context.Context, conn *pgx.Conn, command string, brief bool) error {
	commands := []string{command}
	if brief {
		commands = []string{"set local lock_timeout = '200ms'", command, "set local lock_timeout = 0"}
	}
	for _, c := range commands {
		if _, err := conn.Exec(ctx, c); err != nil {
			return postgres.Explain(err)
		}
	}
	return nil
}

func begin(ctx context.Context, conn *pgx.Conn, snapshot string) error {
	if conn.PgConn().TxStatus() != 'I' {
		if _, err := conn.Exec(ctx, "rollback"); err != nil {
			return fmt.Errorf("give up locks: %w", postgres.Explain(err))
		}
	}
	for _, command := range []string{
		"begin isolation level repeatable read, read only",
		"set transaction snapshot " + postgres.Literal(snapshot),
	} {
		if _, err := conn.Exec(ctx, command); err != nil {
			return fmt.Errorf("import snapshot: %w", postgres.Explain(err))
		}
	}
	return nil
}

// ErrChanged says that a table was altered, dropped, truncated or rewritten again and again between the snapshot and the locks.
// Trying again later may succeed.
var ErrChanged = errors.New("table was altered, dropped, truncated or rewritten while the snapshot was taken")

// unchanged compares the tables as the snapshot sees them with those of now, which our locks keep as they are.
func (s *sessions) unchanged(ctx context.Context, now *pgx.Conn) error {
	seen, err := shapes(ctx, s.conns[0], s.tables)
	if err != nil {
		return err
	}
	current, err := shapes(ctx, now, s.tables)
	if err != nil {
		return err
	}
	for _, t := range s.tables {
		if seen[t.oid] != current[t.oid] {
			return fmt.Errorf("compare table %s: %w", t, ErrChanged)
		}
	}
	return nil
}

// defined compares the tables in the snapshot with their definitions at an earlier time.
func (s *sessions) defined(ctx context.Context, before map[uint32]shape) error {
	seen, err := shapes(ctx, s.conns[0], s.tables)
	if err != nil {
		return err
	}
	for _, t := range s.tables {
		if b, ok := before[t.oid]; !ok || b.definition != seen[t.oid].definition {
			return fmt.Errorf("compare table %s with the schema: %w", t, ErrChanged)
		}
	}
	if len(before) != len(seen) {
		return fmt.Errorf("compare published tables with the schema: %w", ErrChanged)
	}
	return nil
}

// release ends the sessions and so their locks. It may be called more than once.
func (s *sessions) release() {
	for _, conn := range s.conns {
		closeSession(conn)
	}
}
