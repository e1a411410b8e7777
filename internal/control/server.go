package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	controlv1 "tidemark/proto/tidemark/control/v1"
	"tidemark/proto/tidemark/control/v1/controlv1connect"
)

// Config says where to listen and who may ask.
type Config struct {
	// Listen is host:port; port 0 takes a free one.
	Listen string
	// Token is what a caller must show as bearer; empty allows loopback callers only.
	Token string
	// CertFile and KeyFile turn TLS on.
	CertFile, KeyFile string
	// Debug adds /debug/pprof.
	Debug bool
}

// Server is the HTTP port.
type Server struct {
	cfg      Config
	state    func() State
	gatherer prometheus.Gatherer
	log      *slog.Logger
	listener net.Listener
}

// Listen takes the port, so that a port in use is known before anything else starts.
func Listen(cfg Config, state func() State, g prometheus.Gatherer, log *slog.Logger) (*Server, error) {
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen on %s for HTTP: %w; set http.listen to a free port", cfg.Listen, err)
	}
	return &Server{cfg: cfg, state: state, gatherer: g, log: log, listener: l}, nil
}

// Addr is where the server listens.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Run serves until ctx ends, then lets calls that are under way finish for up to a second.
func (s *Server) Run(ctx context.Context) error {
	server := &http.Server{
		Handler:           s.handler(ctx),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if server.Shutdown(end) != nil {
			_ = server.Close() // a watcher that does not hang up is cut off
		}
	}()
	err := s.serve(server)
	if ctx.Err() == nil {
		return fmt.Errorf("serve HTTP: %w", err)
	}
	<-stopped
	return nil
}

func (s *Server) serve(server *http.Server) error {
	if s.cfg.CertFile != "" {
		return server.ServeTLS(s.listener, s.cfg.CertFile, s.cfg.KeyFile)
	}
	return server.Serve(s.listener)
}

// Close gives the port back when Run was never called.
func (s *Server) Close() error { return s.listener.Close() }

func (s *Server) handler(ctx context.Context) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", s.ready)
	private := http.NewServeMux()
	private.Handle("GET /metrics", promhttp.HandlerFor(s.gatherer, promhttp.HandlerOpts{}))
	path, api := controlv1connect.NewControlServiceHandler(&service{state: s.state, stop: ctx}, connect.WithReadMaxBytes(64<<10))
	private.Handle(path, api)
	if s.cfg.Debug {
		private.HandleFunc("GET /debug/pprof/", pprof.Index)
		private.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		private.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	mux.Handle("/", s.guard(private))
	return mux
}

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	state := s.state()
	if state.Ready {
		fmt.Fprintln(w, "ready")
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	fmt.Fprintln(w, strings.Join(state.Reasons, "\n"))
}

// service is the admin API. stop ends the watchers when the server does.
type service struct {
	state func() State
	stop  context.Context
}

func (s *service) Status(context.Context, *connect.Request[controlv1.StatusRequest]) (*connect.Response[controlv1.StatusResponse], error) {
	return connect.NewResponse(&controlv1.StatusResponse{Status: s.state().proto()}), nil
}

const (
	minInterval     = 100 * time.Millisecond
	maxInterval     = time.Minute
	defaultInterval = time.Second
)

func (s *service) Watch(ctx context.Context, req *connect.Request[controlv1.WatchRequest], stream *connect.ServerStream[controlv1.WatchResponse]) error {
	interval := time.Duration(req.Msg.GetIntervalMs()) * time.Millisecond
	if interval == 0 {
		interval = defaultInterval
	}
	if interval < minInterval || interval > maxInterval {
		return connect.NewError(connect.CodeInvalidArgument, errors.New("interval_ms must be 0 or 100 to 60000"))
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if err := stream.Send(&controlv1.WatchResponse{Status: s.state().proto()}); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.stop.Done():
			return nil
		case <-tick.C:
		}
	}
}
