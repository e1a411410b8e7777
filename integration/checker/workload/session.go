package workload

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Sessions that are no load: Edge's, and the one that prepares the database.
const (
	edgeSession  = -1
	setupSession = -2
)

// finish is how long a session may go on after its end was asked for.
const finish = 15 * time.Second

// session is one client. It is for one goroutine.
type session struct {
	load    *Load
	id      int
	r       *rand.Rand
	ctx     context.Context // for statements: ends a while after the load's
	cancel  func()
	ending  context.Context // the load's
	conn    *pgconn.PgConn  // nil when there is none
	seq     int64
	pending map[string]transaction // prepared and not known to be resolved, by gid
	acked   map[string]bool        // kinds that committed here
}

func newSession(l *Load, id int) *session {
	return &session{load: l, id: id, r: rand.New(rand.NewPCG(l.cfg.Seed, uint64(int64(id)))), pending: map[string]transaction{}, acked: map[string]bool{}, cancel: func() {}}
}

// grace makes the context of statements. It is false when ctx has ended already.
func (s *session) grace(ctx context.Context) bool {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		sleep(work, finish)
		cancel()
	})
	s.ending, s.ctx = ctx, work
	s.cancel = func() { stop(); cancel() }
	return ctx.Err() == nil
}

func (s *session) close() {
	if s.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = s.conn.Close(ctx) // nothing hangs on it
	}
	s.cancel()
}

func (s *session) run(ctx context.Context) error {
	defer s.close()
	s.grace(ctx)
	deck := s.deck()
	for sleep(ctx, s.load.limit.reserve(time.Now())+s.pause()) {
		if s.load.gate.enter(ctx) != nil {
			break
		}
		k, dealt := s.choose(&deck)
		err := s.turn(ctx, k)
		s.load.gate.leave()
		if dealt && !s.acked[k.name] { // once more, later
			deck = append(deck, k)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *session) pause() time.Duration {
	if s.load.cfg.Pause <= 0 {
		return 0
	}
	return time.Duration(s.r.Int64N(2 * int64(s.load.cfg.Pause)))
}

// turn does one thing and leaves the session connected and with nothing prepared, or ctx has ended.
func (s *session) turn(ctx context.Context, k kind) error {
	if err := s.connect(ctx); err != nil || s.conn == nil {
		return err
	}
	s.load.count("kind/"+k.name, 1)
	if err := k.run(s); err != nil {
		return fmt.Errorf("run transaction of kind %s in session %d: %w", k.name, s.id, err)
	}
	if !s.lost() {
		return nil
	}
	s.load.count("reconnects", 1)
	return s.connect(ctx)
}

// lost reports whether there is no connection any more.
func (s *session) lost() bool { return s.conn == nil || s.conn.IsClosed() }

// connect connects, if need be, and cleans up. It tries until ctx ends; then conn is nil. An error says that trying is of no use.
func (s *session) connect(ctx context.Context) error {
	if !s.lost() {
		return nil
	}
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		s.conn = nil
		conn, err := s.dial(ctx)
		if err == nil {
			s.conn = conn
			if err = s.welcome(); err == nil {
				return nil
			}
		}
		if err := hopeless(err); err != nil {
			return fmt.Errorf("connect session %d of the load: %w", s.id, err)
		}
		s.load.cfg.Log.Debug("connect session of the load", "session", s.id, "sqlstate", code(err))
		if s.conn != nil {
			_ = s.conn.Close(s.ctx) // it is of no use
			s.conn = nil
		}
		if !sleep(ctx, wait) {
			return nil
		}
	}
}

// hopeless returns an error that does not go away by waiting: no such database, no rights, a statement that cannot work.
func hopeless(err error) error {
	pe, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || usual[pe.Code] || passing[pe.Code] || pe.Code[:2] == "53" || pe.Code[:2] == "57" || pe.Code[:2] == "08" {
		return nil
	}
	return explain(pe)
}

func (s *session) dial(ctx context.Context) (*pgconn.PgConn, error) {
	cfg, err := pgconn.ParseConfig(s.load.cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("parse URL of the primary: %w", err)
	}
	cfg.ConnectTimeout = 5 * time.Second
	maps.Copy(cfg.RuntimeParams, map[string]string{
		"application_name": "load " + strconv.Itoa(s.id), "client_encoding": "UTF8", "client_min_messages": "error", "datestyle": "ISO", "timezone": "UTC",
		"intervalstyle": "postgres", "search_path": "pg_catalog", "standard_conforming_strings": "on", "lock_timeout": "3s", "deadlock_timeout": "100ms",
		"synchronous_commit": "on",
	})
	return pgconn.ConnectConfig(ctx, cfg)
}

// welcome prepares a new connection.
func (s *session) welcome() error {
	if s.id >= 0 && s.id < originSessions {
		name := literal(of(s.origin()))
		if _, err := s.exec("select pg_replication_origin_create(" + name + ") where not exists (select from pg_replication_origin where roname = " + name + ")"); err != nil {
			return err
		}
	}
	return s.resolveLeft()
}
