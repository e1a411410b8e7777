package jetstream

import (
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"tidemark/internal/segment"
	"tidemark/internal/sink"
	"tidemark/internal/sink/sinktest"
)

func startEmbedded(t *testing.T, e Embedded) *Server {
	t.Helper()
	s, err := StartServer(e, slog.New(&records{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func TestEmbeddedKeepsItsDataOverARestart(t *testing.T) {
	e := Embedded{Listen: "127.0.0.1:0", Dir: t.TempDir()}
	server := startEmbedded(t, e)
	s := &stream{cfg: Config{URL: server.URL()}, log: &records{}}
	k, _ := s.open(t)
	apply(t, k, append([]segment.Frame{sinktest.Rows.Define()}, tx(0x1000, sinktest.Part{sinktest.Rows})...)...)
	apply(t, k)
	server.Stop()
	server.Stop()
	if _, err := k.Apply(t.Context(), tx(0x2000, sinktest.Part{sinktest.Rows})); err == nil {
		if _, err = k.Apply(t.Context(), nil); err == nil || sink.IsPermanent(err) {
			t.Errorf("apply behind a stopped server gives %v", err)
		}
	}
	server = startEmbedded(t, e)
	s.cfg.URL = server.URL()
	if _, r := s.open(t); r != (sink.Reached{Stored: 0x1000, Covered: 0x1000}) {
		t.Errorf("reopened at %+v", r)
	}
}

func TestEmbeddedSyncsEveryMessage(t *testing.T) {
	server := startEmbedded(t, Embedded{Listen: "127.0.0.1:0", Dir: t.TempDir()})
	v, err := server.nats.Varz(nil)
	if err != nil || v.JetStream.Config == nil || !v.JetStream.Config.SyncAlways {
		t.Errorf("JetStream runs with %+v, %v", v.JetStream.Config, err)
	}
}

func TestEmbeddedAsksForThePassword(t *testing.T) {
	server := startEmbedded(t, Embedded{Listen: "127.0.0.1:0", Dir: t.TempDir(), User: "tidemark", Password: "hunter2"})
	s := &stream{cfg: Config{URL: server.URL()}, log: &records{}}
	if _, err := s.sink(t).Open(t.Context()); err == nil {
		t.Error("open without the password succeeds")
	}
	s.cfg.URL = strings.Replace(server.URL(), "nats://", "nats://tidemark:hunter2@", 1)
	s.open(t)
}

func TestEmbeddedRefuses(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = busy.Close() }()
	for name, c := range map[string]struct {
		e    Embedded
		want string
	}{
		"open to all":        {Embedded{Listen: "0.0.0.0:0", Dir: t.TempDir()}, "reachable from other machines"},
		"every interface":    {Embedded{Listen: ":4222", Dir: t.TempDir()}, "reachable from other machines"},
		"user only":          {Embedded{Listen: "192.0.2.1:0", Dir: t.TempDir(), User: "a"}, "reachable from other machines"},
		"no port":            {Embedded{Listen: "127.0.0.1", Dir: t.TempDir()}, "not host:port"},
		"port out of range":  {Embedded{Listen: "127.0.0.1:70000", Dir: t.TempDir()}, "no port"},
		"no directory":       {Embedded{Listen: "127.0.0.1:0"}, "dir is required"},
		"directory is taken": {Embedded{Listen: "127.0.0.1:0", Dir: "/dev/null/x"}, "make its directory"},
		"port is taken":      {Embedded{Listen: busy.Addr().String(), Dir: t.TempDir()}, "address already in use"},
	} {
		t.Run(name, func(t *testing.T) {
			begun := time.Now()
			s, err := StartServer(c.e, slog.New(&records{}))
			if err == nil {
				s.Stop()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("start gives %v, want %q", err, c.want)
			}
			if d := time.Since(begun); d > 10*time.Second {
				t.Errorf("refusing took %v", d)
			}
		})
	}
}

func TestConfigIsChecked(t *testing.T) {
	good := Config{URL: "nats://u:hunter2@one:4222, tls://two"}
	if err := good.WithDefaults().Validate(); err != nil {
		t.Errorf("%+v: %v", good, err)
	}
	for want, c := range map[string]Config{
		"nats.url":            {},
		"not an address":      {URL: "nats://u:hunter2%@one:4222"},
		"scheme":              {URL: "http://hunter2"},
		"nats.stream":         {URL: "one", Stream: "a.b"},
		"nats.subject_prefix": {URL: "one", SubjectPrefix: "a.*"},
		"nats.format":         {URL: "one", Format: "avro"},
		"nats.replicas":       {URL: "one", Replicas: 6},
		"nats.retention":      {URL: "one", Retention: time.Second},
		"must be positive":    {URL: "one", Window: -1},
	} {
		err := c.WithDefaults().Validate()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%+v gives %v, want %q", c, err, want)
		}
	}
}
