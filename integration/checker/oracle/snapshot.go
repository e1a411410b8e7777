package oracle

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"tidemark/internal/position"

	"tidemark/integration/checker/fold"
)

// errSlipped says that a table was truncated between the snapshot and its lock: the snapshot would see it empty.
var errSlipped = errors.New("a table was rewritten before it was locked")

const (
	lockTries = 20
	lockPause = 10 * time.Millisecond
)

// snapshot is a transaction that sees exactly what ended at or below at, with all tables locked against TRUNCATE.
type snapshot struct {
	at   position.LSN
	conn *pgx.Conn
}

// takeSnapshot makes a temporary slot, whose exported snapshot lives until its session does anything else.
func takeSnapshot(ctx context.Context, url, slot string, tables []fold.Table) (*snapshot, error) {
	exporter, err := connectReplication(ctx, url)
	if err != nil {
		return nil, err
	}
	defer func() {
		closeConn(ctx, exporter)
		<-exporter.CleanupDone()
	}()
	conn, err := Connect(ctx, url) // before, so that the locks follow at once
	if err != nil {
		return nil, err
	}
	s := &snapshot{conn: conn}
	var id string
	if s.at, id, err = export(ctx, exporter, slot); err == nil {
		err = s.enter(ctx, id, tables)
	}
	if err != nil {
		s.close(ctx)
		return nil, err
	}
	return s, nil
}

func export(ctx context.Context, conn *pgconn.PgConn, slot string) (position.LSN, string, error) {
	option := "(SNAPSHOT 'export')"
	if v := conn.ParameterStatus("server_version"); strings.HasPrefix(v, "14") {
		option = "EXPORT_SNAPSHOT"
	}
	results, err := conn.Exec(ctx, "CREATE_REPLICATION_SLOT "+pgx.Identifier{slot}.Sanitize()+" TEMPORARY LOGICAL pgoutput "+option).ReadAll()
	if err != nil {
		return 0, "", fmt.Errorf("make a temporary slot: %w", err)
	}
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) < 3 {
		return 0, "", errors.New("make a temporary slot: the answer has no snapshot")
	}
	row := results[0].Rows[0]
	at, err := position.ParseLSN(string(row[1]))
	if err != nil {
		return 0, "", fmt.Errorf("make a temporary slot: %w", err)
	}
	return at, string(row[2]), nil
}

func (s *snapshot) enter(ctx context.Context, id string, tables []fold.Table) error {
	for _, statement := range []string{"begin isolation level repeatable read read only", "set transaction snapshot '" + id + "'", "savepoint unlocked"} {
		if _, err := s.conn.Exec(ctx, statement, pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("import a snapshot: %w", err)
		}
	}
	if err := s.lock(ctx, tables); err != nil {
		return err
	}
	return s.intact(ctx)
}

// lock never waits: it could be the other half of a deadlock with a TRUNCATE of several tables.
func (s *snapshot) lock(ctx context.Context, tables []fold.Table) error {
	names := make([]string, len(tables))
	for i, t := range tables {
		names[i] = "only " + identifier(t)
	}
	statement := "lock table " + strings.Join(names, ", ") + " in access share mode nowait"
	for try := 1; ; try++ {
		_, err := s.conn.Exec(ctx, statement, pgx.QueryExecModeSimpleProtocol)
		var pg *pgconn.PgError
		switch {
		case err == nil:
			return nil
		case !errors.As(err, &pg) || pg.Code != "55P03" || try == lockTries: // lock_not_available
			return fmt.Errorf("lock tables: %w", err)
		}
		if _, err := s.conn.Exec(ctx, "rollback to unlocked", pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("lock tables: %w", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("lock tables: %w", context.Cause(ctx))
		case <-time.After(lockPause):
		}
	}
}

// intact compares where the snapshot's catalogue says that tables are with where they are now.
func (s *snapshot) intact(ctx context.Context) error {
	var moved int
	err := s.conn.QueryRow(ctx, "select count(*) from pg_class where relkind = 'r' and relfilenode <> 0 and relfilenode is distinct from pg_relation_filenode(oid)").Scan(&moved)
	if err != nil {
		return fmt.Errorf("look for truncated tables: %w", err)
	}
	if moved > 0 {
		return errSlipped
	}
	return nil
}

func (s *snapshot) close(ctx context.Context) {
	closeConn(ctx, s.conn)
	<-s.conn.PgConn().CleanupDone()
}
