package oracle

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"tidemark/internal/position"
)

const (
	pingInterval = 20 * time.Millisecond // how far the timeline may be behind an idle primary
	writeTimeout = 5 * time.Second
	silence      = 30 * time.Second // after which a server that answers no ping is taken for dead
)

// stream is one replication connection. Messages are those of
// https://www.postgresql.org/docs/current/protocol-replication.html.
type stream struct {
	log       *Log
	conn      net.Conn
	front     *pgproto3.Frontend
	assembler *assembler
	confirmed position.LSN // everything that ends at or below it was added
	ping      time.Time    // when the next one is due
	heard     time.Time
}

// follow reads one connection until it or ctx ends.
func (l *Log) follow(ctx context.Context) error {
	conn, err := connectReplication(ctx, l.cfg.URL)
	if err != nil {
		return err
	}
	taken, err := conn.Hijack()
	if err != nil {
		closeConn(ctx, conn)
		return fmt.Errorf("take over the connection: %w", err)
	}
	defer taken.Conn.Close()
	s := &stream{log: l, conn: taken.Conn, front: taken.Frontend, assembler: newAssembler(l.cfg.Tables), heard: time.Now()}
	if err := s.start(ctx); err != nil {
		return err
	}
	l.connections.Add(1)
	err = s.read(ctx)
	s.front.Send(&pgproto3.Terminate{})
	_ = s.flush() // a courtesy
	return err
}

func (s *stream) start(ctx context.Context) error {
	s.front.Send(&pgproto3.Query{String: startCommand(s.log.cfg.Slot)})
	if err := s.flush(); err != nil {
		return err
	}
	for {
		m, err := s.receive(ctx)
		if err != nil {
			return err
		}
		if _, ok := m.(*pgproto3.CopyBothResponse); ok {
			return nil
		}
	}
}

func (s *stream) read(ctx context.Context) error {
	for {
		m, err := s.receive(ctx)
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *pgproto3.CopyData:
			if err := s.take(m.Data); err != nil {
				return err
			}
		case *pgproto3.CopyDone, *pgproto3.CommandComplete:
			return errors.New("the server ended replication")
		case nil: // nothing came
		}
		if time.Now().Before(s.ping) {
			continue
		}
		if err := s.feedback(); err != nil {
			return err
		}
	}
}

// receive returns a message, or nil when a ping is due. It looks at ctx that often.
func (s *stream) receive(ctx context.Context) (pgproto3.BackendMessage, error) {
	if now := time.Now(); !now.Before(s.ping) {
		s.ping = now.Add(pingInterval)
		if err := s.conn.SetReadDeadline(s.ping); err != nil {
			return nil, fmt.Errorf("set deadline: %w", err)
		}
		if now.Sub(s.heard) > silence {
			return nil, errors.New("the server is silent")
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	m, err := s.front.Receive()
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("receive: %w", err)
	}
	s.heard = time.Now()
	if e, ok := m.(*pgproto3.ErrorResponse); ok {
		return nil, fmt.Errorf("receive: %w", pgconn.ErrorResponseToPgError(e))
	}
	return m, nil
}

// take takes what replication sends: data of the plugin, or a keepalive.
func (s *stream) take(b []byte) error {
	switch {
	case len(b) >= 25 && b[0] == 'w':
		at := position.LSN(binary.BigEndian.Uint64(b[1:]))
		tx, err := s.assembler.add(at, string(b[25:]))
		if err != nil {
			return &Error{At: at, Err: err}
		}
		if tx == nil {
			return nil
		}
		if err := s.log.add(tx); err != nil {
			return err
		}
		s.confirmed = max(s.confirmed, tx.End)
		return nil
	case len(b) >= 18 && b[0] == 'k':
		at := position.LSN(binary.BigEndian.Uint64(b[1:]))
		if s.assembler.tx == nil {
			s.confirmed = max(s.confirmed, at)
			s.log.cfg.Timeline.Cover(at)
		}
		if b[17] != 0 {
			s.ping = time.Time{}
		}
		return nil
	}
	return &Error{At: s.log.last, Err: fmt.Errorf("read a replication message of %d bytes: %w", len(b), errText)}
}

// feedback confirms what was added, and asks where the server is.
func (s *stream) feedback() error {
	b := []byte{'r'}
	for range 3 { // written, flushed, applied
		b = binary.BigEndian.AppendUint64(b, uint64(s.confirmed))
	}
	const epoch = 946684800 // 2000-01-01, in seconds
	b = binary.BigEndian.AppendUint64(b, uint64(time.Now().UnixMicro()-epoch*1e6))
	s.front.Send(&pgproto3.CopyData{Data: append(b, 1)})
	return s.flush()
}

func (s *stream) flush() error {
	if err := s.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return fmt.Errorf("set deadline: %w", err)
	}
	if err := s.front.Flush(); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}
