package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"tidemark/internal/event"
	"tidemark/internal/position"
	"tidemark/internal/postgres/throwaway"
	"tidemark/internal/segment"
	"tidemark/internal/sink"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// process is a NATS server of its own, which a test can kill and start again on the same data and port.
type process struct {
	dir  string
	port int
	cmd  *exec.Cmd
}

func startProcess(t *testing.T) *process {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &process{dir: t.TempDir(), port: l.Addr().(*net.TCPAddr).Port}
	_ = l.Close()
	conf := fmt.Sprintf("listen: 127.0.0.1:%d\nmax_payload: 65536\njetstream { store_dir: %q, sync_interval: always }\n", p.port, p.dir)
	if err := os.WriteFile(filepath.Join(p.dir, "server.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	p.start(t)
	t.Cleanup(func() { p.kill(t) })
	return p
}

func (p *process) start(t *testing.T) {
	t.Helper()
	program := filepath.Join(throwaway.CacheDir(), "bin", "nats-server")
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("no NATS server program: run 'make setup' (%v)", err)
	}
	p.cmd = exec.Command(program, "-c", filepath.Join(p.dir, "server.conf"), "-l", filepath.Join(p.dir, "server.log"))
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		conn, err := nats.Connect(p.url(), nats.NoReconnect())
		if err == nil {
			js, _ := jetstream.New(conn)
			_, err = js.AccountInfo(t.Context())
			conn.Close()
		}
		if err == nil {
			return
		}
		if time.Since(begun) > 20*time.Second {
			t.Fatalf("NATS server does not start: %v; see %s", err, p.dir)
		}
	}
}

// kill is kill -9.
func (p *process) kill(t *testing.T) {
	t.Helper()
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	p.cmd = nil
}

func (p *process) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", p.port) }

// stream is one stream of a server, read by a client of its own.
type stream struct {
	cfg Config
	js  jetstream.JetStream
	log *records
}

var discard = slog.New(slog.DiscardHandler)

var source = event.Source{SystemID: "7301234567890123456", Database: "app"}

func newStream(t *testing.T, url string) *stream {
	t.Helper()
	s := &stream{log: &records{}, cfg: Config{URL: url}}
	s.js = client(t, url)
	return s
}

func client(t *testing.T, url string) jetstream.JetStream {
	t.Helper()
	conn, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func (s *stream) sink(t *testing.T) *Sink {
	t.Helper()
	out, err := New(s.cfg, source, slog.New(s.log))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// open opens a sink that the test's end closes.
func (s *stream) open(t *testing.T) (*Sink, sink.Reached) {
	t.Helper()
	out := s.sink(t)
	reached, err := out.Open(t.Context())
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { _ = out.Close(context.Background()) })
	return out, reached
}

// messages reads the whole stream.
func (s *stream) messages(t *testing.T) []*jetstream.RawStreamMsg {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	st, err := s.js.Stream(ctx, s.cfg.WithDefaults().Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	state := st.CachedInfo().State
	var out []*jetstream.RawStreamMsg
	for seq := state.FirstSeq; seq <= state.LastSeq && seq > 0; seq++ {
		m, err := st.GetMsg(ctx, seq)
		if err != nil {
			t.Fatalf("read message %d: %v", seq, err)
		}
		out = append(out, m)
	}
	return out
}

// rows are the positions of row messages, in order; markers are the positions of commit markers.
func (s *stream) rows(t *testing.T) (rows, markers []position.Position) {
	t.Helper()
	for _, m := range s.messages(t) {
		e, err := event.Parse(m.Data)
		if err != nil {
			t.Fatalf("message %d: %v", m.Sequence, err)
		}
		if e.Op == event.OpCommit {
			markers = append(markers, e.Position.Position())
			continue
		}
		if e.Schema == "tidemark" {
			t.Errorf("message %d is of our own table %s", m.Sequence, e.Table)
		}
		rows = append(rows, e.Position.Position())
	}
	return rows, markers
}

func apply(t *testing.T, s *Sink, frames ...segment.Frame) sink.Reached {
	t.Helper()
	reached, err := s.Apply(t.Context(), frames)
	if err != nil {
		t.Fatalf("apply: %v", err)
	}
	return reached
}

// records is a slog.Handler that keeps messages.
type records struct {
	mu   sync.Mutex
	list []string
}

func (r *records) Enabled(context.Context, slog.Level) bool { return true }
func (r *records) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r *records) WithGroup(string) slog.Handler            { return r }

func (r *records) Handle(_ context.Context, rec slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := rec.Level.String() + " " + rec.Message
	rec.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
	r.list = append(r.list, text)
	return nil
}

func (r *records) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.list...)
}
