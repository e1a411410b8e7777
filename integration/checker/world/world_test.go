package world

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"tidemark/internal/position"
)

// scene is a world whose service runs, and a table to write to.
type scene struct {
	*World

	rows int
}

func newScene(t *testing.T) (*scene, string) {
	t.Helper()
	bin, dir := program(t), openDir(t)
	begin := time.Now()
	w, err := Start(t.Context(), Config{Bin: bin, Dir: dir, Log: slog.New(slog.DiscardHandler), Trace: true, Env: []string{"TIDEMARK_LOG_LEVEL=debug"}})
	must(t, err)
	t.Logf("the world took %v", time.Since(begin).Round(time.Millisecond))
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			text, _ := os.ReadFile(w.Service.LogFile())
			t.Logf("log of the service:\n%s", text[max(0, len(text)-8000):])
		}
	})
	s := &scene{World: w}
	s.sql(t, "create table public.t (id int primary key, v text)")
	s.sql(t, "create schema private")
	s.sql(t, "create table private.t (id int primary key)")
	s.command(t, "init")
	s.command(t, "snapshot", "standby")
	must(t, s.Service.Start(t.Context()))
	s.settle(t)
	return s, dir
}

func (s *scene) command(t *testing.T, args ...string) {
	t.Helper()
	r, err := s.Service.Command(t.Context(), args...)
	must(t, err)
	if r.Code != 0 {
		t.Fatalf("tidemark %v: exit code %d: %s%s", args, r.Code, r.Stdout, r.Stderr)
	}
}

func (s *scene) sql(t *testing.T, text string) (lsn position.LSN) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.Primary.URL())
	must(t, err)
	defer conn.Close(context.WithoutCancel(t.Context()))
	_, err = conn.Exec(t.Context(), text)
	must(t, err)
	var end string
	must(t, conn.QueryRow(t.Context(), "select pg_current_wal_lsn()::text").Scan(&end))
	must(t, lsn.UnmarshalText([]byte(end)))
	return lsn
}

func (s *scene) write(t *testing.T) position.LSN {
	t.Helper()
	s.rows++
	return s.sql(t, "insert into public.t select coalesce(max(id), 0) + 1, repeat('x', 5000) from public.t")
}

// settle requires that everything arrives everywhere.
func (s *scene) settle(t *testing.T) {
	t.Helper()
	lsn := s.write(t)
	begin := time.Now()
	var last Status
	deadline := begin.Add(20 * time.Second)
	for {
		status, err := s.Service.Status(t.Context())
		reached := 0
		for _, c := range status.Copies {
			if c.Position >= lsn {
				reached++
			}
		}
		if err == nil && reached == 4 && status.Source.Connected {
			break
		}
		last = status
		if time.Now().After(deadline) {
			t.Fatalf("not everything arrives: %v, %+v", err, last)
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Logf("settled after %v", time.Since(begin).Round(10*time.Millisecond))
}

func (s *scene) onStandby(t *testing.T) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.Standby.URL())
	must(t, err)
	defer conn.Close(context.WithoutCancel(t.Context()))
	must(t, conn.QueryRow(t.Context(), "select count(*) from public.t").Scan(&n))
	return n
}

func TestWorld(t *testing.T) {
	s, dir := newScene(t)
	t.Run("hops", s.breakHops)
	t.Run("archive", s.breakArchive)
	t.Run("servers", s.breakServers)
	t.Run("service", s.breakService)
	if got := s.onStandby(t); got != s.rows {
		t.Errorf("the standby has %d of %d rows", got, s.rows)
	}
	if text, err := os.ReadFile(s.Service.TraceFile()); err != nil || len(text) == 0 {
		t.Errorf("the trace has %d bytes: %v", len(text), err)
	}
	text, err := os.ReadFile(s.Service.ConfigFile())
	must(t, err)
	for _, address := range []string{s.Primary.address(), s.Standby.address(), s.NATS.Address(), s.S3.Address(), s.Archive.address} {
		if strings.Contains(string(text), address) {
			t.Errorf("the service knows %s, which goes past the proxies", address)
		}
	}
	available := s.Disk.Available()
	if available != mounted(t, dir) {
		t.Errorf("available is %v", available)
	}
	must(t, s.Close())
	must(t, s.Close())
	nothingIsLeft(t, s, dir)
}

// nothingIsLeft requires that no process has anything open below the world's directory, that nothing is mounted there, and
// that files stay.
func nothingIsLeft(t *testing.T, s *scene, dir string) {
	t.Helper()
	if mounted(t, dir) {
		t.Error("the disk is still mounted")
	}
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must(t, err)
	for _, name := range names {
		if text, _ := os.ReadFile(name); strings.Contains(string(text), dir) || strings.Contains(string(text), s.Service.bin) {
			t.Errorf("still running: %q", text)
		}
	}
	for _, pattern := range []string{"disk/journal/*", "primary/*/data/PG_VERSION", "s3/data/archive/*", "nats/*", "service.log", "*/*/server.log"} {
		if found, err := filepath.Glob(filepath.Join(dir, pattern)); err != nil || len(found) == 0 {
			t.Errorf("nothing was kept of %s: %v", pattern, err)
		}
	}
	if s.Service.Start(t.Context()) == nil || s.Service.Running() {
		t.Error("the service starts in a world that is closed")
	}
}

// breakHops breaks all hops in each way at once, writes meanwhile, and heals them.
func (s *scene) breakHops(t *testing.T) {
	for _, f := range []struct {
		name string
		set  func(*Proxy) error
	}{
		{"latency", func(p *Proxy) error { return p.Latency(30*time.Millisecond, 20*time.Millisecond) }},
		{"bandwidth", func(p *Proxy) error { return p.Bandwidth(20) }},
		{"cut", (*Proxy).Cut},
		{"reset", (*Proxy).Reset},
		{"half-open", (*Proxy).HalfOpen},
	} {
		t.Run(f.name, func(t *testing.T) {
			for _, hop := range []string{HopSource, HopStandby, HopNATS, HopArchive} {
				must(t, f.set(s.Hop(hop)))
			}
			s.write(t)
			time.Sleep(300 * time.Millisecond)
			if f.name == "cut" {
				if status, err := s.Service.Status(t.Context()); err != nil || status.Source.Connected {
					t.Errorf("the service is connected through a cut: %v", err)
				}
			}
			for _, hop := range []string{HopSource, HopStandby, HopNATS, HopArchive} {
				must(t, s.Hop(hop).Heal())
			}
			s.settle(t)
		})
	}
}

func (s *scene) breakArchive(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for name, set := range map[string]func(){
		"503":        func() { s.Archive.Answer503(1, r) },
		"lost reply": func() { s.Archive.LoseReply(1, r) },
		"stall":      func() { s.Archive.Stall(time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			before := s.Archive.Struck()
			set()
			s.write(t)
			eventually(t, 10*time.Second, "a request is hit", func() bool { return s.Archive.Struck() > before })
			s.Archive.Heal()
		})
	}
	s.settle(t)
}

func (s *scene) breakServers(t *testing.T) {
	for _, server := range []*Server{s.Primary, s.Standby, s.Scratch} {
		must(t, server.Crash(t.Context()))
		must(t, server.Crash(t.Context()))
		if server.Running() {
			t.Error("a server runs after its crash")
		}
	}
	for _, p := range []*Process{s.NATS, s.S3} {
		must(t, p.Kill(t.Context()))
		if p.Running() {
			t.Errorf("%s runs after its end", p.name)
		}
	}
	for _, server := range []*Server{s.Primary, s.Standby, s.Scratch} {
		must(t, server.Start(t.Context()))
		must(t, server.Start(t.Context()))
	}
	for _, p := range []*Process{s.NATS, s.S3} {
		must(t, p.Start(t.Context()))
		must(t, p.Start(t.Context()))
	}
	s.settle(t)
}

func (s *scene) breakService(t *testing.T) {
	must(t, s.Service.Pause())
	if !s.Service.Running() {
		t.Error("a paused service does not run")
	}
	must(t, s.Service.Resume())
	if s.Service.Start(t.Context()) == nil {
		t.Error("the service was started twice")
	}
	ended := s.Service.Ended()
	must(t, s.Service.Pause())
	must(t, s.Service.Kill())
	if err := <-ended; err == nil || s.Service.Running() {
		t.Errorf("a killed service ends with %v", err)
	}
	if _, err := s.Service.Status(t.Context()); err == nil {
		t.Error("the status of no service")
	}
	must(t, s.Service.Start(t.Context()))
	s.settle(t)
	must(t, s.Service.Terminate(t.Context()))
	if err := <-s.Service.Ended(); err != nil {
		t.Errorf("a terminated service ends with %v", err)
	}
	if s.Service.Terminate(t.Context()) == nil {
		t.Error("no service was terminated")
	}
	must(t, s.Service.Start(t.Context()))
	if s.Disk.Available() {
		must(t, s.Disk.Fill(t.Context()))
		s.write(t)
		must(t, s.Disk.Free())
	}
	if !s.Service.Running() {
		must(t, s.Service.Start(t.Context()))
	}
	s.settle(t)
}
