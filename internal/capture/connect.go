package capture

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"tidemark/internal/planted"
	"tidemark/internal/position"
	"tidemark/internal/postgres"
	"tidemark/internal/source"
)

const connectTimeout = 30 * time.Second

// dial connects, holds the source against the journal, and starts streaming. The connection of the session
// that it returns is in COPY mode and ours alone.
func (c *Capture) dial(ctx context.Context) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	pc, err := postgres.ConnectReplication(ctx, c.cfg.Source.URL, c.cfg.Source.Name)
	if err != nil {
		return nil, source.ExplainConnect(c.cfg.Source, err)
	}
	conn, patience, err := c.prepare(ctx, pc)
	if err != nil {
		closing, cancel := context.WithTimeout(context.Background(), farewellTimeout)
		defer cancel()
		_ = pc.Close(closing) // the error that counts is the first
		return nil, err
	}
	in := &listener{conn: conn, limit: c.silence(patience), ctx: ctx}
	w := newWire(in)
	if err := c.begin(ctx, conn, w); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return &session{c: c, conn: conn, in: in, wire: w, feedback: newFeedback(c, conn, patience)}, nil
}

// prepare gates and takes the connection over. Nothing may be left unread in the library's buffers then.
func (c *Capture) prepare(ctx context.Context, pc *pgconn.PgConn) (net.Conn, time.Duration, error) {
	start, err := source.GateOn(ctx, pc, c.cfg.Source, c.cfg.Journal, c.startLSN())
	if err != nil {
		return nil, 0, err
	}
	if start.ActivePID != 0 {
		return nil, 0, transient("replication slot %q is active for PID %d", c.cfg.Source.Slot, start.ActivePID)
	}
	c.confirmed(start.Confirmed)
	if err := pc.SyncConn(ctx); err != nil {
		return nil, 0, transient("take the connection over: %w", err)
	}
	h, err := pc.Hijack()
	if err != nil {
		return nil, 0, transient("take the connection over: %w", err)
	}
	return h.Conn, start.Patience, nil
}

// confirmed takes the slot's position, which the gate has found to be one of the journal's: nobody may have known it before.
func (c *Capture) confirmed(lsn position.LSN) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.reported = max(c.state.reported, lsn)
}

func (c *Capture) startLSN() position.LSN {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.appended
}

// socket is the connection below TLS.
func socket(conn net.Conn) net.Conn {
	if t, ok := conn.(*tls.Conn); ok {
		return t.NetConn()
	}
	return conn
}

// begin sends START_REPLICATION and reads up to the server's agreement.
func (c *Capture) begin(ctx context.Context, conn net.Conn, w *wire) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	start := c.startLSN()
	if planted.Is(planted.StartPlusOne) {
		start++
	}
	sql := fmt.Sprintf(`START_REPLICATION SLOT "%s" LOGICAL %s (proto_version '1', publication_names %s)`,
		c.cfg.Source.Slot, start, quoteReplication(postgres.Ident(c.cfg.Source.Publication.Name)))
	query := binary.BigEndian.AppendUint32([]byte{'Q'}, uint32(4+len(sql)+1))
	if _, err := conn.Write(append(append(query, sql...), 0)); err != nil {
		return transient("start replication: %w", err)
	}
	for {
		kind, body, err := w.next()
		if err != nil {
			return transient("start replication: %w", err)
		}
		switch kind {
		case 'W':
			if !stop() {
				return transient("start replication: %w", context.Cause(ctx))
			}
			return nil
		case 'E':
			return fmt.Errorf("start replication: %w", serverError(body))
		case 'N':
			if err := c.notice(body); err != nil {
				return err
			}
		case 'S', 'A': // parameter status, notification
		default:
			return transient("start replication: unexpected message %q", kind)
		}
	}
}

// quoteReplication quotes a string for the replication grammar, which knows no E” strings: a backslash is itself.
func quoteReplication(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// serverError classes an ErrorResponse. What a later attempt cannot mend is refused: 42704 a publication or slot that is
// missing, 55000 a slot that was invalidated, 58P01 WAL that is gone.
func serverError(body []byte) error {
	var msg pgproto3.ErrorResponse
	if err := msg.Decode(body); err != nil {
		return transient("read the server's error: %w", err)
	}
	err := postgres.Explain(pgconn.ErrorResponseToPgError(&msg))
	switch msg.Code {
	case "42704", "55000", "58P01":
		return fmt.Errorf("%w: %w; to mend it: run tidemark check", ErrRefused, err)
	}
	return transient("the source ends the stream: %w", err)
}

// notice logs a server's notice. From PostgreSQL 18 on a publication that is missing at the place in WAL is only a
// warning (55000), and its changes would be passed over: that is refused.
func (c *Capture) notice(body []byte) error {
	var msg pgproto3.NoticeResponse
	if err := msg.Decode(body); err != nil {
		return transient("read the server's notice: %w", err)
	}
	err := postgres.Explain(pgconn.ErrorResponseToPgError((*pgproto3.ErrorResponse)(&msg)))
	if msg.Code == "55000" {
		return fmt.Errorf("%w: the source warns: %w; to mend it: run tidemark check", ErrRefused, err)
	}
	c.cfg.Log.Info("notice from the source", "severity", msg.Severity, "notice", err)
	return nil
}
