package control

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"tidemark/internal/position"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		slog.Error("goroutines are left", "error", err)
		code = 1
	}
	os.Exit(code)
}

func example() State {
	now := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	return State{
		Version: "v1", Started: now, Ready: false, Reasons: []string{"copy standby is 9s behind"},
		Source: Source{
			SystemID: "7", Timeline: 2, Database: "app", ServerVersion: "17.2", Connected: true, Received: 5, WALEnd: 9,
			Confirmed: now, ClockOffset: -0.5, Slot: Slot{Name: "s", Active: true, RetainedBytes: 1, SafeBytes: -1},
		},
		Journal: Journal{Oldest: 1, Durable: 5, Bytes: 100, Segments: 2},
		Copies: []Copy{{
			Name: "standby", Domain: "b", Tier: 1, TargetSeconds: 5, LagSeconds: 9, LagBytes: 4, Position: position.LSN(5),
			CommitTime: now, Status: "breached", State: "running", Reason: "r",
		}, {Name: "nats", LagSeconds: -1, Status: "unknown"}},
	}
}

func start(t *testing.T, cfg Config) *Server {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	reg := prometheus.NewRegistry()
	reg.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "tidemark_x", Help: "x"}))
	s, err := Listen(cfg, example, reg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

func get(t *testing.T, url string, change func(*http.Request)) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(req)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestStatusRoundTrip(t *testing.T) {
	s := start(t, Config{})
	got, err := NewClient("http://"+s.Addr(), "").Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(example(), got); d != "" {
		t.Error(d)
	}
	if !got.Breached() {
		t.Error("a breached copy is not seen")
	}
}

func TestWatchSendsAgain(t *testing.T) {
	s := start(t, Config{})
	n, enough := 0, errors.New("enough")
	err := NewClient("http://"+s.Addr(), "").Watch(t.Context(), 100, func(State) error {
		if n++; n == 3 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Errorf("watch ended with %v after %d states", err, n)
	}
	if err := NewClient("http://"+s.Addr(), "").Watch(t.Context(), 5, func(State) error { return nil }); err == nil {
		t.Error("an interval of 5 ms was accepted")
	}
}

func TestHealthReadyMetrics(t *testing.T) {
	s := start(t, Config{})
	base := "http://" + s.Addr()
	if code, _ := get(t, base+"/healthz", nil); code != 200 {
		t.Errorf("healthz answers %d", code)
	}
	if code, body := get(t, base+"/readyz", nil); code != 503 || body != "copy standby is 9s behind\n" {
		t.Errorf("readyz answers %d %q", code, body)
	}
	if code, body := get(t, base+"/metrics", nil); code != 200 || !strings.Contains(body, "tidemark_x 0") {
		t.Errorf("metrics answer %d %q", code, body)
	}
	if code, _ := get(t, base+"/debug/pprof/", nil); code != 404 {
		t.Errorf("pprof answers %d without http.debug", code)
	}
}

func TestGuard(t *testing.T) {
	open, closed := start(t, Config{}), start(t, Config{Token: "right"})
	bearer := func(v string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", v) }
	}
	host := func(h string) func(*http.Request) { return func(r *http.Request) { r.Host = h } }
	cases := []struct {
		name   string
		server *Server
		change func(*http.Request)
		want   int
	}{
		{"loopback", open, nil, 200},
		{"localhost", open, host("localhost:8321"), 200},
		{"rebound name", open, host("evil.example:8321"), 403},
		{"no token", closed, nil, 401},
		{"wrong token", closed, bearer("Bearer wrong"), 401},
		{"bare token", closed, bearer("right"), 401},
		{"token", closed, bearer("Bearer right"), 200},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if code, _ := get(t, "http://"+c.server.Addr()+"/metrics", c.change); code != c.want {
				t.Errorf("answer is %d, want %d", code, c.want)
			}
		})
	}
	if _, err := NewClient("http://"+closed.Addr(), "wrong").Status(t.Context()); err == nil {
		t.Error("status was given to a wrong token")
	}
	if _, err := NewClient("http://"+closed.Addr(), "right").Status(t.Context()); err != nil {
		t.Error(err)
	}
	if code, _ := get(t, "http://"+closed.Addr()+"/healthz", nil); code != 200 {
		t.Errorf("healthz with a token configured answers %d", code)
	}
}

func TestPortInUse(t *testing.T) {
	s := start(t, Config{})
	_, err := Listen(Config{Listen: s.Addr()}, example, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "http.listen") {
		t.Errorf("a port in use gives %v", err)
	}
}
