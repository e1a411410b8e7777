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

// open opens n sessions, at least 1, before there is a snapshot: connecting takes its time.
func open(ctx context.Context, url string, n int) (*sessions, error) {
	s := &sessions{}
	for range n {
		conn, err := connect(ctx, url)
		if err != nil {
			s.release()
			return nil, fmt.Errorf("connect to source: %w", err)
		}
		s.conns = append(s.conns, conn)
	}
	return s, nil
}

// enter takes all sessions into the snapshot and locks the tables in all of them. What the sessions held before is given up.
func (s *sessions) enter(ctx context.Context, e *Exported, tables []Table, log *slog.Logger) (err error) {
	stop := announce(log, "waiting for locks on the source's tables")
	defer stop()
	for range lockTries {
		if err = s.lock(ctx, e, tables); postgres.Code(err) != lockNotAvailable {
			return err
		}
		if err := s.wait(ctx, tables); err != nil {
			return err
		}
	}
	return err
}

const lockNotAvailable = "55P03"

// lock takes the locks. All sessions ask at the same moment, so that hardly anybody gets in between, and none waits for long:
// behind a TRUNCATE that waits for one of them the others would wait for ever. An error with lockNotAvailable means
// that this happened, or that somebody holds a table: all locks must be given up.
func (s *sessions) lock(ctx context.Context, e *Exported, tables []Table) error {
	if err := s.leave(ctx); err != nil {
		return err
	}
	enter := "begin isolation level repeatable read, read only; set transaction snapshot " + postgres.Literal(e.Name)
	if len(tables) > 0 {
		enter += "; set local lock_timeout = '200ms'; " + lockCommand(tables)
	}
	errs := make([]error, len(s.conns))
	var all sync.WaitGroup
	for i, conn := range s.conns {
		all.Go(func() { errs[i] = execute(ctx, conn, enter) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return fmt.Errorf("enter the snapshot and lock the source's tables: %w", err)
		}
	}
	return nil
}

// patient lifts the limit under which the locks were taken.
func (s *sessions) patient(ctx context.Context) error {
	for _, conn := range s.conns {
		if err := execute(ctx, conn, "set local lock_timeout = 0"); err != nil {
			return fmt.Errorf("prepare session: %w", err)
		}
	}
	return nil
}

// leave gives up snapshot and locks.
func (s *sessions) leave(ctx context.Context) error {
	for _, conn := range s.conns {
		if conn.PgConn().TxStatus() == 'I' {
			continue
		}
		if err := execute(ctx, conn, "rollback"); err != nil {
			return fmt.Errorf("give up locks: %w", err)
		}
	}
	return nil
}

// wait gives up all locks, and then waits with one session until its locks can be had, however long that takes.
func (s *sessions) wait(ctx context.Context, tables []Table) error {
	if err := s.leave(ctx); err != nil {
		return err
	}
	if err := execute(ctx, s.conns[0], "begin; "+lockCommand(tables)+"; rollback"); err != nil {
		return fmt.Errorf("lock the source's tables: %w", err)
	}
	return nil
}

func lockCommand(tables []Table) string {
	names := make([]string, len(tables))
	for i, t := range tables {
		names[i] = "only " + t.ident()
	}
	return "lock table " + strings.Join(names, ", ") + " in access share mode"
}

// execute runs commands in one round trip.
func execute(ctx context.Context, conn *pgx.Conn, commands string) error {
	_, err := conn.PgConn().Exec(ctx, commands).ReadAll()
	return postgres.Explain(err)
}

// list reads which tables the snapshot has.
func (s *sessions) list(ctx context.Context, publication string) (err error) {
	s.tables, err = Tables(ctx, s.conns[0], publication)
	return err
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
