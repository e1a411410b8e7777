package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Canonical returns the session settings under which PostgreSQL's text output is the same on every server and loses
// nothing. They are sent as start-up parameters, which beat ALTER ROLE and ALTER DATABASE … SET. The first three are
// what PostgreSQL's own logical receiver sets (libpqwalreceiver.c); the rest are other settings that leak into text.
func Canonical() map[string]string {
	return map[string]string{
		"datestyle":          "ISO",
		"intervalstyle":      "postgres",
		"extra_float_digits": "3",
		"bytea_output":       "hex",
		"timezone":           "UTC",
		"client_encoding":    "UTF8",
		"lc_monetary":        "C",
		"xmlbinary":          "base64",
		"xmloption":          "content",
		"search_path":        "",
		"row_security":       "off",
	}
}

// session returns what every SQL session of ours sets: canonical text, no time limits of other people's choosing, and
// synchronous_commit=local, so that no commit of ours waits for a synchronous standby that may be ourselves.
func session() map[string]string {
	s := Canonical()
	maps.Copy(s, map[string]string{
		"synchronous_commit":                  "local",
		"statement_timeout":                   "0",
		"lock_timeout":                        "0",
		"idle_in_transaction_session_timeout": "0",
		"default_transaction_read_only":       "off",
		"standard_conforming_strings":         "on",
	})
	return s
}

// Config parses a connection URL for an SQL session with our settings. name becomes the application_name. The kernel
// ends its connections when the peer has been gone for 30 seconds. The error never holds the password.
func Config(url, name string) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("parse connection URL: %w", err)
	}
	maps.Copy(cfg.RuntimeParams, session())
	cfg.RuntimeParams["application_name"] = name
	noticeGone(&cfg.Config, sessionGoneAfter)
	return cfg, nil
}

// Connect opens an SQL session. The caller closes it.
func Connect(ctx context.Context, url, name string) (*pgx.Conn, error) {
	cfg, err := Config(url, name)
	if err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, unreachable(&cfg.Config, err)
	}
	return conn, nil
}

// ConnectReplication opens a logical replication connection (walsender) to the URL's database with canonical text. The
// kernel ends it when the peer has been gone for 30 seconds.
func ConnectReplication(ctx context.Context, url, name string) (*pgconn.PgConn, error) {
	cfg, err := pgconn.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("parse connection URL: %w", err)
	}
	maps.Copy(cfg.RuntimeParams, Canonical())
	cfg.RuntimeParams["replication"] = "database"
	cfg.RuntimeParams["application_name"] = name
	noticeGone(cfg, senderGoneAfter)
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, unreachable(cfg, err)
	}
	return conn, nil
}

// unreachable says in one line who could not connect where, and why. The library's own text repeats itself for every
// address and way that it tried.
func unreachable(cfg *pgconn.Config, err error) error {
	where := net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port)))
	cause, advice := err, "check the URL, and that a server listens there"
	if op, ok := errors.AsType[*net.OpError](err); ok {
		cause = op.Err
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		cause = dns
	}
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok {
		cause, advice = Explain(pe), "check user, password and database of the URL, and pg_hba.conf on the server"
	}
	for _, stop := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, stop) {
			cause = stop
		}
	}
	return &connectError{text: fmt.Sprintf("user %q, database %q at %s: %v; %s", cfg.User, cfg.Database, where, cause, advice), cause: err}
}

// connectError hides a library's error text and keeps what callers ask of it.
type connectError struct {
	text  string
	cause error
}

func (e *connectError) Error() string { return e.text }
func (e *connectError) Unwrap() error { return e.cause }

// Explain removes from a server's error whatever may hold row values (message, detail, where) and keeps what
// identifies it: SQLSTATE, and the names of schema, table, column and constraint. Errors whose message is written by the
// server about itself (connection, rights, configuration, object names) keep the message.
func Explain(err error) error {
	var pe *pgconn.PgError
	if err == nil || !errors.As(err, &pe) {
		return err
	}
	return &ServerError{Code: pe.Code, text: describe(pe), cause: err}
}

// ServerError is a server's error without row values. Unwrap gives the original, which must not be logged.
type ServerError struct {
	// Code is the SQLSTATE.
	Code  string
	text  string
	cause error
}

// Error names the SQLSTATE and the objects concerned.
func (e *ServerError) Error() string { return e.text }

// Unwrap returns the server's error as it came.
func (e *ServerError) Unwrap() error { return e.cause }

// Code returns the SQLSTATE of a server's error, or "".
func Code(err error) string {
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pe.Code
	}
	return ""
}

// quiet lists the SQLSTATE classes whose messages can quote row values: data exception, integrity violation, PL/pgSQL
// raise, row-level checks.
var quiet = []string{"22", "23", "P0", "44", "21"}

func describe(pe *pgconn.PgError) string {
	var b strings.Builder
	message := pe.Message
	for _, class := range quiet {
		if strings.HasPrefix(pe.Code, class) {
			message = "server refuses a value"
		}
	}
	fmt.Fprintf(&b, "%s (SQLSTATE %s", message, pe.Code)
	for _, part := range []struct{ name, value string }{
		{"schema", pe.SchemaName}, {"table", pe.TableName}, {"column", pe.ColumnName}, {"constraint", pe.ConstraintName},
	} {
		if part.value != "" {
			fmt.Fprintf(&b, ", %s %q", part.name, part.value)
		}
	}
	return b.String() + ")"
}
