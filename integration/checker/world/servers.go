package world

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"tidemark/internal/postgres/throwaway"
)

// Server is a PostgreSQL server. All methods are for any goroutine.
type Server struct {
	name     string
	database string
	cluster  *throwaway.Cluster

	mu      sync.Mutex // held while the server starts or stops
	running atomic.Bool
}

// settings make transactions spill early, keep recovery after a crash short, and let a silent connection be noticed
// while a run still goes on. fsync stays off: servers crash here, the machine does not.
func settings() map[string]string {
	return map[string]string{
		"wal_level":                 "logical",
		"max_prepared_transactions": "20",
		"max_replication_slots":     "40",
		"max_wal_senders":           "40",
		"max_connections":           "150",
		"logical_decoding_work_mem": "'64kB'",
		"track_commit_timestamp":    "on",
		"wal_sender_timeout":        "'15s'",
		"checkpoint_timeout":        "'30s'",
		"max_wal_size":              "'512MB'",
		"shared_buffers":            "'64MB'",
	}
}

// newServer makes a cluster below dir, starts it, and makes the database unless it is there.
func newServer(ctx context.Context, dir, name, database string, major int) (*Server, error) {
	parent := filepath.Join(dir, name)
	if err := os.Mkdir(parent, 0o711); err != nil {
		return nil, fmt.Errorf("make directory of the %s: %w", name, err)
	}
	cluster, err := newCluster(ctx, parent, major)
	if err != nil {
		return nil, fmt.Errorf("start the %s: %w", name, err)
	}
	s := &Server{name: name, database: database, cluster: cluster}
	s.running.Store(true)
	if database == throwaway.Superuser {
		return s, nil
	}
	return s, s.create(ctx)
}

// newCluster tries another port when somebody else took the first between our look at it and the server's.
func newCluster(ctx context.Context, parent string, major int) (cluster *throwaway.Cluster, err error) {
	for range 3 {
		port, portErr := freePort(ctx)
		if portErr != nil {
			return nil, portErr
		}
		cluster, err = throwaway.New(ctx, throwaway.Options{Major: major, Parent: parent, Port: port, Settings: settings()})
		if err == nil || ctx.Err() != nil {
			break
		}
	}
	return cluster, err
}

func (s *Server) create(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.URLFor(throwaway.Superuser))
	if err != nil {
		return fmt.Errorf("connect to the %s: %w", s.name, err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "create database "+pgx.Identifier{s.database}.Sanitize()); err != nil {
		return fmt.Errorf("make database on the %s: %w", s.name, err)
	}
	return nil
}

// URL connects to the server's database as its superuser, and not through the proxy. The database is Database, or
// postgres on the scratch server.
func (s *Server) URL() string { return s.URLFor(s.database) }

// URLFor connects to another database.
func (s *Server) URLFor(database string) string { return s.cluster.URL(database) }

// Major is the server's version.
func (s *Server) Major() int { return s.cluster.Major }

// LogFile is the server's log.
func (s *Server) LogFile() string { return s.cluster.LogFile() }

func (s *Server) address() string { return loopback(s.cluster.Port) }

// through is URL by way of a proxy.
func (s *Server) through(p *Proxy) (string, error) {
	u, err := url.Parse(s.URL())
	if err != nil {
		return "", fmt.Errorf("read the URL of the %s", s.name)
	}
	u.Host = p.Address()
	return u.String(), nil
}

// Running says whether the server was started, so that it answered, and neither crashed nor stopped by us since. It waits for
// nothing.
func (s *Server) Running() bool { return s.running.Load() }

// Crash stops the server at once, as `pg_ctl stop -m immediate` does, and waits for its end. One that is down is left alone.
func (s *Server) Crash(ctx context.Context) error { return s.stop(ctx, s.cluster.Crash) }

// Stop shuts the server down in order, as `pg_ctl stop -m fast` does: it waits for replication clients to confirm.
func (s *Server) Stop(ctx context.Context) error { return s.stop(ctx, s.cluster.Stop) }

func (s *Server) stop(ctx context.Context, how func(context.Context) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running.Load() {
		return nil
	}
	if err := how(ctx); err != nil {
		return fmt.Errorf("stop the %s: %w", s.name, err)
	}
	s.running.Store(false)
	return nil
}

// Start starts the server again and waits until it answers, recovery included. One that runs is left alone.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running.Load() {
		return nil
	}
	err := s.cluster.Start(ctx)
	if err == nil {
		s.running.Store(true)
		return nil
	}
	// It may be half way up.
	down, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if s.cluster.Crash(down) != nil {
		s.running.Store(true)
	}
	return fmt.Errorf("start the %s: %w", s.name, err)
}
