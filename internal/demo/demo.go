package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"tidemark/internal/config"
	"tidemark/internal/daemon"
	"tidemark/internal/postgres/throwaway"
)

// Options say how long and where to.
type Options struct {
	// Duration of the load; at least a second.
	Duration time.Duration
	// Progress receives a line per step; nil shows nothing.
	Progress io.Writer
	// Log receives the service's own log.
	Log     *slog.Logger
	Version string
}

// Result is what `demo --json` prints (the issue of the first version names the fields).
type Result struct {
	Transactions int64         `json:"transactions"`
	Rows         int64         `json:"rows"`
	Standby      StandbyResult `json:"standby"`
	NATS         NATSResult    `json:"nats"`
	Archive      ArchiveResult `json:"archive"`
	Restore      RestoreResult `json:"restore"`
	Verified     bool          `json:"verified"`
}

// StandbyResult is about the standby. Lag is from the commit's acknowledgement to the row being visible there.
type StandbyResult struct {
	Verified bool    `json:"verified"`
	LagP50   float64 `json:"lag_p50_ms"`
	LagP99   float64 `json:"lag_p99_ms"`
}

// NATSResult is about the stream. Lag is from the commit time to a subscriber having the whole transaction.
type NATSResult struct {
	Messages int64   `json:"messages"`
	Verified bool    `json:"verified"`
	LagP50   float64 `json:"lag_p50_ms"`
	LagP99   float64 `json:"lag_p99_ms"`
}

// ArchiveResult is what lies in the archive.
type ArchiveResult struct {
	Objects int64 `json:"objects"`
	Bytes   int64 `json:"bytes"`
}

// RestoreResult is about the restored database.
type RestoreResult struct {
	Target   string  `json:"target"`
	Verified bool    `json:"verified"`
	Seconds  float64 `json:"seconds"`
}

// stage holds everything that the demo has started.
type stage struct {
	opts    Options
	dir     string
	primary *throwaway.Cluster
	standby *throwaway.Cluster
	cfg     config.Config
	stop    []func() error
}

const (
	application = "app"
	copyName    = "app"
	foldName    = "folded"
	restoreName = "restored"
)

// Run plays the whole piece. The error says what went wrong on the way; Result.Verified says whether what came out is right.
func Run(ctx context.Context, opts Options) (result Result, err error) {
	s := &stage{opts: opts}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.servers(ctx); err != nil {
		return Result{}, err
	}
	service, err := s.service(ctx)
	if err != nil {
		return Result{}, err
	}
	return s.play(ctx, service)
}

func (s *stage) sayf(format string, args ...any) {
	if s.opts.Progress != nil {
		fmt.Fprintf(s.opts.Progress, format+"\n", args...)
	}
}

func (s *stage) close() error {
	var all error
	for i := len(s.stop) - 1; i >= 0; i-- {
		all = errors.Join(all, s.stop[i]())
	}
	return all
}

// servers starts primary and standby.
func (s *stage) servers(ctx context.Context) error {
	var err error
	if s.dir, err = os.MkdirTemp("", "tidemark-demo-"); err != nil {
		return fmt.Errorf("make demo directory: %w", err)
	}
	s.stop = append(s.stop, func() error { return os.RemoveAll(s.dir) })
	s.sayf("starting a primary and a standby …")
	if s.primary, err = throwaway.New(ctx, throwaway.Options{}); err != nil {
		return fmt.Errorf("start primary: %w", err)
	}
	s.stop = append(s.stop, s.primary.Remove)
	if s.standby, err = throwaway.New(ctx, throwaway.Options{}); err != nil {
		return fmt.Errorf("start standby: %w", err)
	}
	s.stop = append(s.stop, s.standby.Remove)
	if err := execute(ctx, s.primary.URL("postgres"), "create database "+application); err != nil {
		return err
	}
	for _, name := range []string{copyName, foldName, restoreName} {
		if err := execute(ctx, s.standby.URL("postgres"), "create database "+name); err != nil {
			return err
		}
	}
	for _, url := range []string{s.primary.URL(application), s.standby.URL(foldName)} {
		if err := execute(ctx, url, schema); err != nil {
			return err
		}
	}
	return s.configure()
}

func (s *stage) configure() error {
	cfg := config.Default()
	cfg.Source.URL = config.Secret(s.primary.URL(application))
	cfg.Journal.Dir = filepath.Join(s.dir, "journal")
	cfg.Sinks.Standby.URL = config.Secret(s.standby.URL(copyName))
	// Nothing here need survive the machine: the PostgreSQL servers run without fsync, and the stream syncs now and then.
	cfg.Sinks.NATS.Embedded = config.Embedded{
		Listen: "127.0.0.1:0", Dir: filepath.Join(s.dir, "nats"), SyncInterval: config.SyncInterval(time.Second),
	}
	cfg.Sinks.Archive.URL = "file://" + filepath.Join(s.dir, "archive")
	cfg.Sinks.Archive.FlushInterval = config.Duration(time.Second)
	cfg.HTTP.Listen = "127.0.0.1:0"
	s.cfg = cfg
	return cfg.Validate()
}

// service prepares the source and starts Tidemark on it.
func (s *stage) service(ctx context.Context) (*daemon.Service, error) {
	s.sayf("preparing the source and starting the service …")
	if err := daemon.Prepare(ctx, s.cfg, s.opts.Log); err != nil {
		return nil, err
	}
	service, err := daemon.Open(ctx, s.cfg, daemon.Options{Version: s.opts.Version, Log: s.opts.Log})
	if err != nil {
		return nil, err
	}
	running, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- service.Run(running) }()
	s.stop = append(s.stop, func() error { cancel(); return <-ended })
	s.sayf("  status and metrics: http://%s/metrics   stream: %s", service.HTTPAddr(), service.NATSURL())
	return service, nil
}
