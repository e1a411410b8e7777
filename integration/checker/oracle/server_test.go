package oracle

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"tidemark/internal/postgres/pgtest"
	"tidemark/internal/postgres/throwaway"

	"tidemark/integration/checker/fold"
	"tidemark/integration/checker/workload"
)

// proof is a primary with the workload's tables, its reference log, and a sampler.
type proof struct {
	cluster  *throwaway.Cluster
	url      string
	conn     *pgx.Conn
	tables   []fold.Table
	timeline *fold.Timeline
	log      *Log
	sampler  *Sampler
	failed   chan error // what Log.Run returned
	stop     func()
}

// clusters are shared by tests that do not stop them, by major version. TestMain removes them.
var clusters = map[int]*throwaway.Cluster{}

func options(major int) throwaway.Options {
	return throwaway.Options{Major: major, Settings: map[string]string{
		"max_prepared_transactions": "64", "logical_decoding_work_mem": "'64kB'", "log_min_messages": "error", "log_min_error_statement": "panic",
	}}
}

func newProof(t *testing.T, major int, more ...string) *proof {
	t.Helper()
	c, ok := clusters[major]
	if !ok {
		var err error
		if c, err = throwaway.New(t.Context(), options(major)); err != nil {
			t.Fatal(err)
		}
		clusters[major] = c
	}
	return newProofOn(t, c, more...)
}

func newProofOn(t *testing.T, c *throwaway.Cluster, more ...string) *proof {
	t.Helper()
	p := &proof{cluster: c, failed: make(chan error, 1)}
	p.url = pgtest.DatabaseOn(t, p.cluster)
	p.connect(t)
	if err := workload.Schema(t.Context(), p.conn); err != nil {
		t.Fatal(err)
	}
	p.exec(t, more...)
	var err error
	if p.tables, err = Tables(t.Context(), p.conn); err != nil {
		t.Fatal(err)
	}
	p.timeline = fold.NewTimeline(p.tables)
	logger := slog.New(slog.DiscardHandler)
	slot := strings.ToLower(strings.NewReplacer("/", "_").Replace(t.Name()))
	p.log, err = NewLog(t.Context(), LogConfig{URL: p.url, Slot: slot, Tables: p.tables, Timeline: p.timeline, History: filepath.Join(t.TempDir(), "history"), Log: logger})
	if err != nil {
		t.Fatal(err)
	}
	p.sampler = NewSampler(SamplerConfig{URL: p.url, Tables: p.tables, Timeline: p.timeline, Rows: p.log.Rows, Log: logger, Shortest: time.Millisecond, Longest: 200 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.failed <- p.log.Run(ctx)
	}()
	p.stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(func() {
		p.stop()
		if err := <-p.failed; err != nil {
			t.Errorf("the log: %v", err)
		}
		if err := p.log.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func (p *proof) connect(t *testing.T) {
	t.Helper()
	conn, err := Connect(t.Context(), p.url)
	if err != nil {
		t.Fatal(err)
	}
	p.conn = conn
	t.Cleanup(func() { closeConn(context.Background(), conn) })
}

func (p *proof) exec(t *testing.T, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := p.conn.Exec(t.Context(), s, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// sample compares heap and timeline.
func (p *proof) sample(t *testing.T, after string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := p.sampler.Sample(ctx); err != nil {
		t.Fatalf("after %s: %v", after, err)
	}
}

// samples waits until so many more samples were taken while Sampler.Run goes on.
func (p *proof) samples(t *testing.T, n int) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for want := p.sampler.Counts()["samples"] + n; p.sampler.Counts()["samples"] < want; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no samples are taken: %v", p.sampler.Counts())
		}
	}
}

// rows compares each row with the log's history. Nothing may happen meanwhile.
func (p *proof) rows(t *testing.T) {
	t.Helper()
	for _, table := range p.tables {
		have, err := Rows(t.Context(), p.conn, table)
		if err != nil {
			t.Fatal(err)
		}
		want, err := p.log.Rows(table.String(), p.timeline.Covered())
		if err != nil {
			t.Fatal(err)
		}
		if d := FirstDifferences(have, want); len(d) > 0 {
			t.Errorf("table %s: %v", table, d)
		}
	}
}
