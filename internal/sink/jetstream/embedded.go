package jetstream

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Embedded describes a NATS server inside our own process, for installations that have none.
type Embedded struct {
	// Listen is host:port, default 127.0.0.1:4222; port 0 takes a free one. Only an address of this machine's
	// loopback is accepted without User and Password.
	Listen string
	// Dir holds the server's data. It must not be shared with another server.
	Dir string
	// SyncInterval is how often stored messages are fsynced; 0 is before each is acknowledged. With an interval a power
	// cut can take acknowledged messages, which are published again from the journal at the next start.
	SyncInterval time.Duration
	// User and Password are asked of every client when set.
	User, Password string
}

const (
	embeddedStart = 30 * time.Second
	embeddedStop  = 10 * time.Second
)

// Server is a running embedded server.
type Server struct {
	nats *server.Server
	log  *slog.Logger
}

// StartServer starts the embedded server and waits until it takes clients, 30 s at most (it may have data to recover).
// Unless SyncInterval says otherwise every message is fsynced before it is acknowledged: a NATS server's own default is to do
// so every two minutes.
func StartServer(e Embedded, log *slog.Logger) (*Server, error) {
	opts, err := e.options()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(e.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("start embedded NATS server: make its directory: %w", err)
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("start embedded NATS server: %w", err)
	}
	bridge := &serverLog{log: log}
	s.SetLoggerV2(bridge, false, false, false)
	s.Start()
	out := &Server{nats: s, log: log}
	if err := out.ready(bridge); err != nil {
		out.Stop()
		return nil, fmt.Errorf("start embedded NATS server on %s: %w", e.Listen, err)
	}
	return out, nil
}

// ready looks for a fatal message between short waits: the server reports an occupied port in no other way.
func (s *Server) ready(bridge *serverLog) error {
	for begun := time.Now(); time.Since(begun) < embeddedStart; {
		ok := s.nats.ReadyForConnections(100 * time.Millisecond)
		if err := bridge.failed(); err != nil {
			return err
		}
		if ok && s.nats.JetStreamEnabled() {
			return nil
		}
	}
	return fmt.Errorf("it is not ready after %v", embeddedStart)
}

// URL is the address for clients; it does not hold the user and password.
func (s *Server) URL() string { return s.nats.ClientURL() }

// Stop ends the server, 10 s at most. Stopping twice is harmless.
func (s *Server) Stop() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.nats.Shutdown()
		s.nats.WaitForShutdown()
	}()
	t := time.NewTimer(embeddedStop)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
		s.log.Warn("embedded NATS server does not stop", "waited", embeddedStop)
	}
}

func (e Embedded) options() (*server.Options, error) {
	host, port, err := e.address()
	if err != nil {
		return nil, err
	}
	if e.Dir == "" {
		return nil, errors.New("check nats.embedded: dir is required")
	}
	if !loopback(host) && (e.User == "" || e.Password == "") {
		return nil, fmt.Errorf("check nats.embedded.listen: %s is reachable from other machines and no user and password are set", host)
	}
	return &server.Options{
		ServerName: "tidemark", Host: host, Port: port,
		Username: e.User, Password: e.Password,
		JetStream: true, StoreDir: e.Dir, SyncAlways: e.SyncInterval == 0, SyncInterval: e.SyncInterval,
		NoSigs: true, NoLog: true,
		MaxPayload: 8 << 20, // rows of some megabytes pass; the server warns above 8 MiB
	}, nil
}

func (e Embedded) address() (string, int, error) {
	listen := e.Listen
	setDefault(&listen, "127.0.0.1:4222")
	host, p, err := net.SplitHostPort(listen)
	if err != nil {
		return "", 0, fmt.Errorf("check nats.embedded.listen: %q is not host:port", listen)
	}
	port, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("check nats.embedded.listen: %q is no port", p)
	}
	if port == 0 {
		return host, server.RANDOM_PORT, nil
	}
	return host, int(port), nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
