package oracle

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// settings under which a value's text is the same on every server, nobody but the caller's context ends a statement, and the digest's long
// expressions are not compiled.
func settings() map[string]string {
	return map[string]string{
		"datestyle": "ISO", "intervalstyle": "postgres", "extra_float_digits": "3", "bytea_output": "hex", "timezone": "UTC",
		"client_encoding": "UTF8", "search_path": "", "statement_timeout": "0", "lock_timeout": "0", "idle_in_transaction_session_timeout": "0",
		"quote_all_identifiers": "off", "jit": "off", "max_parallel_workers_per_gather": "0", "application_name": "checker",
	}
}

// Connect opens a session under canonical settings, in which Tables, Digest and Rows give what they promise.
func Connect(ctx context.Context, url string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("read URL: %w", err)
	}
	maps.Copy(cfg.RuntimeParams, settings())
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return conn, nil
}

// connectReplication opens a session that understands replication commands.
func connectReplication(ctx context.Context, url string) (*pgconn.PgConn, error) {
	cfg, err := pgconn.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("read URL: %w", err)
	}
	maps.Copy(cfg.RuntimeParams, settings())
	cfg.RuntimeParams["replication"] = "database"
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect for replication: %w", err)
	}
	return conn, nil
}

const closeTimeout = time.Second

// closeConn ends a session also when the context has ended.
func closeConn(ctx context.Context, conn interface{ Close(context.Context) error }) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	_ = conn.Close(ctx) // whatever it had to say no longer matters
}
