package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"tidemark/internal/capture"
	"tidemark/internal/config"
	"tidemark/internal/control"
	"tidemark/internal/journal"
	"tidemark/internal/progress"
	"tidemark/internal/rpo"
	"tidemark/internal/sink"
	"tidemark/internal/sink/jetstream"
	"tidemark/internal/source"
)

// Service is Tidemark, built and ready to run. Open makes one; Run is called once. The other methods may be called at any time
// in between.
type Service struct {
	cfg     config.Config
	opts    Options
	log     *slog.Logger
	started time.Time

	registry  *prometheus.Registry
	board     *progress.Board
	ages      *rpo.Ages
	monitor   *rpo.Monitor
	http      *control.Server
	gate      source.Start
	identity  source.Identity
	journal   *journal.Journal
	nats      *jetstream.Server // nil with an external server
	natsURL   string
	capture   *capture.Capture
	heartbeat *source.Heartbeat
	runners   []*sink.Runner

	mu      sync.Mutex
	refused error // why capture stopped for good
}

// Open builds the service up to the point where only running is left. Its error is one line for the operator; nothing is
// left running then.
func Open(ctx context.Context, cfg config.Config, opts Options) (*Service, error) {
	s := &Service{
		cfg: cfg, opts: opts, log: opts.Log, started: time.Now(),
		registry: prometheus.NewRegistry(), board: progress.New(), ages: &rpo.Ages{},
	}
	for _, step := range []func(context.Context) error{
		s.openHTTP, s.openJournal, s.rememberAges, s.openNATS, s.buildSinks, s.buildCapture, s.register,
	} {
		if err := step(ctx); err != nil {
			if s.http != nil {
				_ = s.http.Close() // it never ran
			}
			return nil, errors.Join(err, s.close(ctx))
		}
	}
	return s, nil
}

func (s *Service) openHTTP(context.Context) error {
	s.monitor = &rpo.Monitor{Copies: copies(s.cfg), Board: s.board, Ages: s.ages, Stream: s.stream}
	var err error
	s.http, err = control.Listen(control.Config{
		Listen: s.cfg.HTTP.Listen, Token: s.opts.Token, CertFile: s.cfg.HTTP.TLS.Cert, KeyFile: s.cfg.HTTP.TLS.Key, Debug: s.cfg.HTTP.Debug,
	}, s.State, s.registry, s.log)
	return err
}

func (s *Service) openNATS(context.Context) error {
	n := s.cfg.Sinks.NATS
	if !n.On() {
		return nil
	}
	if n.URL != "" {
		s.natsURL = n.URL.Reveal()
		return nil
	}
	server, err := jetstream.StartServer(jetstream.Embedded{
		Listen: n.Embedded.Listen, Dir: n.Embedded.Dir, SyncInterval: time.Duration(n.Embedded.SyncInterval),
	}, s.log)
	if err != nil {
		return err
	}
	s.nats, s.natsURL = server, server.URL()
	return nil
}

func (s *Service) buildCapture(context.Context) error {
	var err error
	src := SourceConfig(s.cfg)
	cfg := capture.Config{
		Source: src, Journal: s.identity, Start: s.journal.End(), Confirmed: s.gate.Confirmed, Appender: appender{s.journal}, Board: s.board,
		Log: s.log.With("stage", "capture"), Acknowledge: s.cfg.AcknowledgeSet(), Standby: s.cfg.Sinks.Standby.On(),
		Received: s.ages.Add, Registerer: s.registry,
	}
	if s.opts.Trace != nil {
		cfg.Acknowledging = s.opts.Trace.Acknowledging
	}
	s.capture, err = capture.New(cfg)
	if err != nil {
		return err
	}
	s.heartbeat = source.NewHeartbeat(src, s.log.With("stage", "heartbeat"), s.capture.Observe)
	s.heartbeat.OnShutdown(s.capture.Leave)
	return nil
}

func (s *Service) register(context.Context) error {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "tidemark_build_info", Help: "1, labelled with the version.", ConstLabels: prometheus.Labels{"version": s.opts.Version},
	})
	info.Set(1)
	for _, c := range []prometheus.Collector{
		info, rpo.NewCollector(s.monitor), &slotCollector{s}, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := s.registry.Register(c); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}

// HTTPAddr is where status and metrics are served.
func (s *Service) HTTPAddr() string { return s.http.Addr() }

// NATSURL is where the stream is, for subscribers on this machine. Empty without that sink.
func (s *Service) NATSURL() string { return s.natsURL }

// close gives back what Open took, in the reverse order.
func (s *Service) close(ctx context.Context) error {
	var err error
	if s.nats != nil {
		s.nats.Stop()
	}
	if s.journal != nil {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		err = s.journal.Close(bounded)
	}
	return err
}

// stopTimeout bounds each step of stopping.
const stopTimeout = 5 * time.Second
