package capture

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"tidemark/internal/position"
	"tidemark/internal/postgres/pgtest"
	"tidemark/internal/progress"
	"tidemark/internal/source"
)

func TestMain(m *testing.M) {
	code := pgtest.Main(m)
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// rig is a source that was prepared, an oracle slot made at the same place, and a capture into memory.
type rig struct {
	url     string
	cfg     Config
	board   *progress.Board
	memory  *memory
	capture *Capture
	oracle  string
	stop    func() error
}

var rigs atomic.Int64

func newRig(t *testing.T, url string, change func(*Config)) *rig {
	t.Helper()
	n := rigs.Add(1)
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	src := source.Config{URL: url, Slot: fmt.Sprintf("capture_%d", n)}.WithDefaults()
	r := &rig{url: url, oracle: fmt.Sprintf("oracle_%d", n), board: progress.New()}
	if _, err := source.Init(t.Context(), src, log); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, url, "select pg_create_logical_replication_slot('"+r.oracle+"', 'test_decoding')")
	start, err := source.Gate(t.Context(), src, source.Identity{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	r.memory = newMemory(r.board, start.LSN)
	r.cfg = Config{Source: src, Journal: start.Identity, Start: start.LSN, Confirmed: start.Confirmed, Appender: r.memory,
		Board: r.board, Log: log, Registerer: prometheus.NewRegistry()}
	if change != nil {
		change(&r.cfg)
	}
	if r.capture, err = New(r.cfg); err != nil {
		t.Fatal(err)
	}
	return r
}

// start runs the loop; stop ends it and gives its error.
func (r *rig) start(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.capture.Loop(ctx) }()
	ended := false
	r.stop = func() error {
		if ended {
			return nil
		}
		ended = true
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(15 * time.Second):
			return errors.New("capture does not stop")
		}
	}
	t.Cleanup(func() { _ = r.stop() })
}

// marker commits a row of its own and waits until it was captured.
func (r *rig) marker(t *testing.T) {
	t.Helper()
	pgtest.Exec(t, r.url, "insert into tidemark.heartbeat values (1, now(), 1) on conflict (id) do update set seq = heartbeat.seq + 1")
	want := oracle(t, r.url, r.oracle)
	last := want[len(want)-1].end
	r.wait(t, func(done []receivedTx) bool { return len(done) > 0 && done[len(done)-1].end >= last })
}

func (r *rig) wait(t *testing.T, ok func([]receivedTx) bool) {
	t.Helper()
	deadline := time.After(90 * time.Second)
	for {
		done, changed := r.memory.transactions()
		if ok(done) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("it does not come to be: %d transactions, state %+v", len(done), r.capture.State())
		}
	}
}

// compare holds what was captured against the oracle, transaction by transaction.
func (r *rig) compare(t *testing.T) {
	t.Helper()
	want := oracle(t, r.url, r.oracle)
	got, _ := r.memory.transactions()
	for i := range min(len(want), len(got)) {
		if got[i].end != want[i].end || got[i].rows != want[i].rows {
			t.Fatalf("transaction %d is %s with %d rows, want %s with %d", i, got[i].end, got[i].rows, want[i].end, want[i].rows)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d transactions, want %d", len(got), len(want))
	}
}

// oracle lists the transactions with published rows by test_decoding, without moving its slot. The LSN of a COMMIT line
// is the transaction's end LSN.
func oracle(t *testing.T, url, slot string) []receivedTx {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	rows, err := conn.Query(t.Context(), `select lsn::text, left(data, 200) from pg_logical_slot_peek_changes($1, null, null)`, slot)
	if err != nil {
		t.Fatal(err)
	}
	var out []receivedTx
	count := 0
	for rows.Next() {
		var lsn, data string
		if err := rows.Scan(&lsn, &data); err != nil {
			t.Fatal(err)
		}
		switch {
		case strings.HasPrefix(data, "BEGIN"):
			count = 0
		case strings.HasPrefix(data, "COMMIT"):
			if count > 0 {
				end, err := position.ParseLSN(lsn)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, receivedTx{end: end, rows: count})
			}
		case strings.HasPrefix(data, "table tidemark.s"): // slot, source_version
		case strings.Contains(data, ": TRUNCATE:"):
			names := strings.Split(strings.TrimPrefix(strings.Split(data, ": TRUNCATE:")[0], "table "), ", ")
			count += len(slices.DeleteFunc(names, func(n string) bool { return n == "public.c" })) // partitioned: its leaves are sent
		default:
			count++
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func currentLSN(t *testing.T, url string) position.LSN {
	t.Helper()
	return queryLSN(t, url, "select pg_current_wal_insert_lsn()::text")
}

func queryLSN(t *testing.T, url, sql string, args ...any) position.LSN {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var text string
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&text); err != nil {
		t.Fatal(err)
	}
	lsn, err := position.ParseLSN(text)
	if err != nil {
		t.Fatal(err)
	}
	return lsn
}

func (r *rig) confirmed(t *testing.T) position.LSN {
	t.Helper()
	return queryLSN(t, r.url, "select confirmed_flush_lsn::text from pg_replication_slots where slot_name = $1", r.cfg.Source.Slot)
}

// until polls what only the server knows.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come to be: %s", what)
		}
	}
}
