package capture

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
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
	"tidemark/internal/postgres/throwaway"
	"tidemark/internal/progress"
	"tidemark/internal/segment"
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

const schema = `create type mood as enum ('sad', 'ok');
create table a(id int primary key, v text, m mood);
create table "B b"(id int, v jsonb); alter table "B b" replica identity full;
create table c(id int primary key) partition by range (id);
create table c1 partition of c for values from (0) to (100);
create table c2 partition of c for values from (100) to (200)`

func TestTour(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		url := pgtest.Database(t, major)
		pgtest.Exec(t, url, schema)
		r := newRig(t, url, nil)
		r.start(t)
		pgtest.Exec(t, url,
			"insert into a select g, 'v'||g, 'ok' from generate_series(1, 10) g",
			"update a set v = 'x' where id < 4; update a set id = id + 100 where id = 1; delete from a where id = 9",
			`insert into "B b" values (1, '{"a": 1}'), (1, '{"a": 1}'); update "B b" set v = '{}'; delete from "B b"`,
			"insert into c values (1), (150); update c set id = 160 where id = 1; truncate c, a",
			"begin; insert into a values (1); rollback",
			"begin; insert into a values (2); savepoint s; insert into a values (3); rollback to s; insert into a values (4); commit",
			"begin; insert into a values (20, 'a'); alter table a add column w int default 7; insert into a values (21, 'b', 'sad', 9); alter table a drop column v; update a set w = 1; commit",
			"alter type mood rename to feeling; insert into a values (30, 'ok', 3)",
			"create table unpublished(i int primary key); insert into unpublished values (1)",
			"begin; insert into a select g, 'ok', g from generate_series(1000, 4000) g; alter table a add column z text default 'z'; insert into a(id) select g from generate_series(5000, 8000) g; commit",
		)
		pgtest.Exec(t, url, "drop table unpublished")
		// The oracle counts rows of unpublished tables too; it is the only one here.
		r.marker(t)
		got, _ := r.memory.transactions()
		want := oracle(t, url, r.oracle)
		if len(want) != len(got)+1 {
			t.Fatalf("%d transactions, want one less than the oracle's %d", len(got), len(want))
		}
		skip := 0
		for i, g := range got {
			if want[i+skip].end != g.end && skip == 0 {
				skip = 1
			}
			if w := want[i+skip]; w.end != g.end || w.rows != g.rows {
				t.Errorf("transaction %d is %+v, want %+v", i, g, w)
			}
		}
		state := r.capture.State()
		if !state.Connected || state.Confirmed.IsZero() || state.WALEnd < state.Received || state.Offset.Abs() > time.Second {
			t.Errorf("state is %+v", state)
		}
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		// The last feedback was delivered: the slot stands at the end of what is durable, or beyond while idle.
		if c := r.confirmed(t); c < got[len(got)-1].end {
			t.Errorf("slot confirms %s after stop, want at least %s", c, got[len(got)-1].end)
		}
	})
}

func TestBigTransactionInBoundedMemory(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		url := pgtest.Database(t, major)
		pgtest.Exec(t, url, "create table big(id int primary key, t text)")
		r := newRig(t, url, nil)
		var peak atomic.Uint64
		parts := 0
		r.memory.before = func(a segment.Append) error {
			if parts++; parts%8 == 0 {
				var s runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&s)
				peak.Store(max(peak.Load(), s.HeapAlloc))
			}
			return nil
		}
		r.start(t)
		pgtest.Exec(t, url, "insert into big select g, repeat(md5(g::text), 5) from generate_series(1, 200000) g")
		r.wait(t, func(done []receivedTx) bool { return len(done) == 1 })
		done, _ := r.memory.transactions()
		if done[0].rows != 200000 || done[0].parts < 30 || r.memory.largest > 1<<20 {
			t.Errorf("transaction is %+v with parts of up to %d bytes", done[0], r.memory.largest)
		}
		if p := peak.Load(); p == 0 || p > 30<<20 {
			t.Errorf("heap grew to %d bytes", p)
		}
	})
}

func TestIdleSlotAdvances(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		url, busy := pgtest.Database(t, major), pgtest.Database(t, major)
		r := newRig(t, url, nil)
		r.start(t)
		pgtest.Exec(t, busy, "create table noise(t text)", "insert into noise select repeat('x', 500) from generate_series(1, 20000)")
		end := currentLSN(t, busy)
		pgtest.Exec(t, busy, "insert into noise values ('y')")
		until(t, "the slot of the idle database advances", func() bool { return r.confirmed(t) >= end })
		if done, _ := r.memory.transactions(); len(done) != 0 {
			t.Errorf("%d transactions of nothing", len(done))
		}
	})
}

func TestPrimaryStopsFast(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		c := pgtest.Start(t, throwaway.Options{Major: major})
		url := c.URL("postgres")
		pgtest.Exec(t, url, "create table a(id int primary key)")
		r := newRig(t, url, nil)
		r.start(t)
		pgtest.Exec(t, url, "insert into a select generate_series(1, 1000)")
		r.marker(t)
		began := time.Now()
		if err := c.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d > 10*time.Second {
			t.Errorf("the primary took %v to stop", d)
		}
		until(t, "capture notices", func() bool { return !r.capture.State().Connected })
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		pgtest.Exec(t, url, "insert into a values (2000)")
		r.marker(t)
		r.compare(t)
	})
}

func TestPrimaryCrashes(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		c := pgtest.Start(t, throwaway.Options{Major: major})
		url := c.URL("postgres")
		pgtest.Exec(t, url, "create table a(id serial primary key, t text)")
		r := newRig(t, url, nil)
		r.start(t)
		for range 3 {
			load := make(chan struct{})
			go func() {
				defer close(load)
				conn, err := pgx.Connect(context.Background(), url)
				if err != nil {
					return
				}
				defer conn.Close(context.Background())
				for err == nil {
					_, err = conn.Exec(context.Background(), "insert into a(t) select repeat('x', 100) from generate_series(1, 50)")
				}
			}()
			before, _ := r.memory.transactions()
			r.wait(t, func(done []receivedTx) bool { return len(done) > len(before)+20 })
			if err := c.Crash(t.Context()); err != nil {
				t.Fatal(err)
			}
			<-load
			if err := c.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		r.marker(t)
		r.compare(t)
	})
}

func TestNeverAcknowledgesBeyondDurable(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		url, other := pgtest.Database(t, major), pgtest.Database(t, major)
		pgtest.Exec(t, url, "create table a(id int primary key)")
		r := newRig(t, url, nil)
		r.memory.withhold = true
		before := r.confirmed(t)
		r.start(t)
		pgtest.Exec(t, url, "insert into a values (1)")
		r.wait(t, func(done []receivedTx) bool { return len(done) == 1 })
		done, _ := r.memory.transactions()
		// Other databases move the keepalives' position far beyond; several rounds of timer and keepalive pass.
		pgtest.Exec(t, other, "create table noise(t text)", "insert into noise select repeat('x', 500) from generate_series(1, 5000)")
		asked := r.capture.State().LastMessage
		until(t, "three rounds of keepalives", func() bool { return r.capture.State().LastMessage.Sub(asked) > 3*time.Second })
		if c := r.confirmed(t); c < before || c >= done[0].end {
			t.Fatalf("slot confirms %s although %s is not durable", c, done[0].end)
		}
		if s := r.capture.State(); s.Acknowledged >= done[0].end || s.WALEnd <= done[0].end {
			t.Errorf("state is %+v", s)
		}
		// Stopping does not acknowledge it either.
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		if c := r.confirmed(t); c >= done[0].end {
			t.Fatalf("stopping confirmed %s although %s is not durable", c, done[0].end)
		}
		r.start(t)
		r.memory.release()
		end := currentLSN(t, url)
		until(t, "everything is acknowledged after release", func() bool { return r.confirmed(t) >= end })
		if done, _ := r.memory.transactions(); len(done) != 1 {
			t.Errorf("%d transactions, want the one", len(done))
		}
	})
}

func TestTerminatedWithinTransaction(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		url := pgtest.Database(t, major)
		pgtest.Exec(t, url, "create table big(id int primary key, t text)")
		r := newRig(t, url, nil)
		reached, goOn := make(chan struct{}), make(chan struct{})
		parts := 0
		r.memory.before = func(a segment.Append) error {
			if a.Frame.IsFrontier() {
				return nil
			}
			if parts++; parts == 5 {
				close(reached)
				<-goOn
			}
			return nil
		}
		r.start(t)
		pgtest.Exec(t, url, "insert into big select g, repeat(md5(g::text), 5) from generate_series(1, 200000) g")
		<-reached
		pgtest.Exec(t, url, "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '"+r.cfg.Source.Slot+"'")
		// The server cannot end before we read on: it wants to tell us. The rest of the transaction is far larger than what
		// stands in buffers.
		close(goOn)
		r.marker(t)
		r.compare(t)
		if r.memory.discards != 1 {
			t.Errorf("discarded %d times, want once", r.memory.discards)
		}
	})
}

// TestFullJournal holds the reader for longer than the server waits for a silent client.
func TestFullJournal(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		c := pgtest.Start(t, throwaway.Options{Major: major, Settings: map[string]string{"wal_sender_timeout": "'2s'"}})
		url := c.URL("postgres")
		pgtest.Exec(t, url, "create table a(id int primary key, t text)")
		r := newRig(t, url, nil)
		var room atomic.Bool
		r.memory.before = func(segment.Append) error {
			if room.Load() {
				return nil
			}
			return fmt.Errorf("append: %w", errNoRoom{})
		}
		r.start(t)
		pgtest.Exec(t, url, "insert into a select g, repeat('x', 1000) from generate_series(1, 20000) g")
		until(t, "the journal is full", func() bool { return r.capture.State().Full })
		pid := activePID(t, r)
		time.Sleep(5 * time.Second) // more than twice wal_sender_timeout: nothing signals that a time limit did not strike
		if now := activePID(t, r); now != pid || now == 0 {
			t.Errorf("walsender is %d, was %d: the connection did not survive", now, pid)
		}
		room.Store(true)
		r.marker(t)
		r.compare(t)
		if r.capture.State().Full {
			t.Error("still full")
		}
	})
}

func activePID(t *testing.T, r *rig) (pid int) {
	t.Helper()
	if err := pgtest.Connect(t, r.url).QueryRow(t.Context(), "select coalesce(active_pid, 0) from pg_replication_slots where slot_name = $1", r.cfg.Source.Slot).Scan(&pid); err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestAppendErrorIsFatal(t *testing.T) {
	url := pgtest.Database(t, 0)
	pgtest.Exec(t, url, "create table a(id int primary key)")
	r := newRig(t, url, nil)
	broken := errors.New("disk is gone")
	r.memory.before = func(segment.Append) error { return broken }
	pgtest.Exec(t, url, "insert into a values (1)")
	err := r.capture.Loop(t.Context())
	if !errors.Is(err, ErrFatal) || !errors.Is(err, broken) {
		t.Errorf("loop ends with %v", err)
	}
	if r.memory.discards != 0 {
		t.Error("the journal was touched after an unknown outcome")
	}
}

func TestRefusals(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		for name, c := range map[string]struct {
			change func(*Config)
			sql    func(*rig) string
			want   string
		}{
			"other cluster":    {change: func(c *Config) { c.Journal.SystemID = "1" }, want: "another cluster"},
			"journal ahead":    {change: func(c *Config) { c.Start += 1 << 30 }, want: "beyond the end"},
			"journal behind":   {change: func(c *Config) { c.Start = 1 }, want: "will not send"},
			"slot gone":        {sql: func(r *rig) string { return "select pg_drop_replication_slot('" + r.cfg.Source.Slot + "')" }, want: "does not exist"},
			"publication gone": {sql: func(*rig) string { return "drop publication tidemark" }, want: "publication"},
		} {
			t.Run(name, func(t *testing.T) {
				url := pgtest.Database(t, major)
				r := newRig(t, url, c.change)
				if c.sql != nil {
					pgtest.Exec(t, url, c.sql(r))
				}
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				err := r.capture.Loop(ctx)
				if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("loop ends with %v, want %q", err, c.want)
				}
			})
		}
	})
}

func TestPublicationDroppedWhileStreaming(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		url := pgtest.Database(t, major)
		pgtest.Exec(t, url, "create table a(id int primary key)")
		r := newRig(t, url, nil)
		ended := make(chan error, 1)
		go func() { ended <- r.capture.Loop(t.Context()) }()
		until(t, "it streams", func() bool { return r.capture.State().Connected })
		pgtest.Exec(t, url, "drop publication tidemark", "insert into a values (1)")
		select {
		case err := <-ended:
			if !errors.Is(err, ErrRefused) {
				t.Errorf("loop ends with %v", err)
			}
		case <-time.After(30 * time.Second):
			t.Error("a dropped publication goes unnoticed")
		}
	})
}

func TestWaitsForActiveSlot(t *testing.T) {
	url := pgtest.Database(t, 0)
	pgtest.Exec(t, url, "create table a(id int primary key)")
	r := newRig(t, url, nil)
	r.memory.withhold = true // so that the slot stays where the second expects it
	r.start(t)
	until(t, "the first streams", func() bool { return r.capture.State().Connected })
	second, err := New(Config{Source: r.cfg.Source, Journal: r.cfg.Journal, Start: r.cfg.Start, Confirmed: r.cfg.Confirmed,
		Appender: r.memory, Board: r.board, Log: r.cfg.Log})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Run(t.Context()); err == nil || errors.Is(err, ErrRefused) || errors.Is(err, ErrFatal) || !strings.Contains(err.Error(), "is active for PID") {
		t.Errorf("the second ends with %v", err)
	}
}

func TestUnreachableSourceIsTransient(t *testing.T) {
	c := pgtest.Start(t, throwaway.Options{})
	r := newRig(t, c.URL("postgres"), nil)
	if err := c.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.capture.Run(t.Context()); err == nil || errors.Is(err, ErrRefused) || errors.Is(err, ErrFatal) {
		t.Errorf("run ends with %v", err)
	}
}
