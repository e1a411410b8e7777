package check

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidemark/internal/postgres/throwaway"
)

// natsServer is a NATS server of its own, which a test can kill and start again on the same data and port.
type natsServer struct {
	dir  string
	port int
	cmd  *exec.Cmd
}

func startNATS(t *testing.T) *natsServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &natsServer{dir: t.TempDir(), port: l.Addr().(*net.TCPAddr).Port}
	_ = l.Close()
	p.start(t)
	t.Cleanup(func() { p.kill() })
	return p
}

func (p *natsServer) start(t *testing.T) {
	t.Helper()
	program := filepath.Join(throwaway.CacheDir(), "bin", "nats-server")
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("find NATS server: %v: run 'make setup'", err)
	}
	p.cmd = exec.Command(program, "-a", "127.0.0.1", "-p", fmt.Sprint(p.port), "-js", "-sd", p.dir, "-l", filepath.Join(p.dir, "server.log"))
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
			t.Fatalf("NATS server does not start: %v", err)
		}
	}
}

// kill is kill -9.
func (p *natsServer) kill() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		p.cmd = nil
	}
}

func (p *natsServer) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", p.port) }

// with runs f with a client.
func (p *natsServer) with(t *testing.T, f func(ctx context.Context, js jetstream.JetStream) error) {
	t.Helper()
	conn, err := nats.Connect(p.url(), nats.NoReconnect())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := f(ctx, js); err != nil {
		t.Fatal(err)
	}
}

// publish makes the stream if need be and adds messages to it.
func (p *natsServer) publish(t *testing.T, name string, list []message) {
	t.Helper()
	p.with(t, func(ctx context.Context, js jetstream.JetStream) error {
		if _, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{name + ".>"}, Duplicates: 100 * time.Millisecond}); err != nil {
			return err
		}
		for _, m := range list {
			// The server itself drops a repetition for as long as it remembers the first one.
			for stored := false; !stored; {
				ack, err := js.PublishMsg(ctx, &nats.Msg{Subject: name + m.subject, Header: m.header, Data: m.data})
				if err != nil {
					return err
				}
				if stored = !ack.Duplicate; !stored {
					time.Sleep(20 * time.Millisecond)
				}
			}
		}
		return nil
	})
}
