package workload

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"tidemark/internal/postgres/pgtest"
)

// until waits until the load has done what is asked for.
func until(t *testing.T, l running, what string, done func(counts map[string]int) bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(l.Counts()); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s: %v", what, l.Counts())
		}
	}
}

func committed(n int) func(map[string]int) bool {
	return func(counts map[string]int) bool { return counts["transactions/acked"] >= n }
}

func TestQuietAndEdge(t *testing.T) {
	_, url := server(t, 0)
	conn := pgtest.Connect(t, url)
	pgtest.Exec(t, url, "select pg_create_logical_replication_slot('edge', 'test_decoding')")
	l := start(t, Config{URL: url, Slot: "edge", Seed: 3, Sessions: 6, Rate: 500})
	until(t, l, "begin", committed(150))
	if err := l.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := query[int](t, conn, "select count(*) from pg_stat_activity where application_name like 'load %' and state <> 'idle'"); n != 0 {
		t.Errorf("%d sessions are busy in a pause", n)
	}
	before := l.Counts()
	exact, err := l.Edge(t.Context(), func() error {
		if n := query[int](t, conn, "select count(*) from pg_prepared_xacts where gid like 'load/-1/%'"); n != 2 {
			t.Errorf("%d transactions are prepared", n)
		}
		_, err := conn.Exec(t.Context(), "select pg_replication_slot_advance('edge', pg_current_wal_insert_lsn())")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Log("exact:", exact)
	if got := query[int](t, conn, "select count(*) from pg_logical_slot_peek_changes('edge', null, null) where data like 'table public.ledger: INSERT: session[integer]:-1%'"); got != 2 {
		t.Errorf("the slot sees %d transactions behind its position", got)
	}
	if err := l.Verify(t.Context(), conn); err != nil {
		t.Error(err)
	}
	outcomes := l.Outcomes()
	if last := outcomes[len(outcomes)-2:]; !slices.Equal(last, []Outcome{{edgeSession, 1, Acked}, {edgeSession, 2, Acked}}) {
		t.Errorf("outcomes end with %v", last)
	}
	after := l.Counts()
	if diff := after["transactions/acked"] - before["transactions/acked"]; diff != 2 {
		t.Errorf("%d transactions in a pause", diff)
	}
	stop := errors.New("stop")
	if _, err := l.Edge(t.Context(), func() error { return stop }); !errors.Is(err, stop) {
		t.Errorf("edge ends with %v", err)
	}
	if n := query[int](t, conn, "select count(*) from pg_prepared_xacts"); n != 0 {
		t.Errorf("%d transactions stay prepared", n)
	}
	l.Resume()
	until(t, l, "go on", committed(after["transactions/acked"]+100))
}

func TestCrash(t *testing.T) {
	c, url := server(t, 0)
	l := start(t, Config{URL: url, Seed: 11, Sessions: 16, Only: []string{"mixed", "prepared", "prepared pair", "savepoints", "upsert", "prune ledger", "commit times"}})
	left := func() bool { return l.Counts()["prepared transactions left by a lost connection"] > 0 }
	for round := 1; round <= 3 || round <= 6 && !left(); round++ {
		base := l.Counts()["transactions/acked"]
		until(t, l, "work", committed(base+150))
		if err := c.Crash(t.Context()); err != nil {
			t.Fatal(err)
		}
		until(t, l, "notice", func(counts map[string]int) bool { return counts["reconnects"] > 16*(round-1) })
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := l.Pause(t.Context()); err != nil {
			t.Fatal(err)
		}
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Verify(t.Context(), conn); err != nil {
			t.Error(err)
		}
		if n := query[int](t, conn, "select count(*) from pg_prepared_xacts"); n != 0 {
			t.Errorf("%d transactions stay prepared in a pause", n)
		}
		if err := conn.Close(t.Context()); err != nil {
			t.Error(err)
		}
		l.Resume()
	}
	if err := l.stop(); err != nil {
		t.Fatal(err)
	}
	counts := l.Counts()
	t.Log(counts)
	if !left() { // by chance, about once in a hundred times
		t.Log("no crash met a prepared transaction")
	}
	unknown := 0
	for _, o := range l.Outcomes() {
		if o.Result == Unknown {
			unknown++
		}
	}
	if unknown != counts["transactions/unknown"] {
		t.Errorf("%d outcomes are unknown", unknown)
	}
}

// TestVerifyFinds: what Verify is for.
func TestVerifyFinds(t *testing.T) {
	_, url := server(t, 0)
	conn := pgtest.Connect(t, url)
	l := start(t, Config{URL: url, Sessions: 2, Only: []string{"upsert", "reuse key"}})
	until(t, l, "work", func(counts map[string]int) bool {
		return counts["transactions/acked"] >= 50 && counts["transactions/aborted"] > 0
	})
	if err := l.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ sql, want string }{
		{"delete from public.ledger where (session, seq) in (select session, seq from public.ledger limit 1)", "acked"},
		{"insert into public.ledger values (99, 1, '')", "nobody"},
	} {
		if err := l.Verify(t.Context(), conn); err != nil {
			t.Fatal(err)
		}
		tx, err := conn.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), test.sql); err != nil {
			t.Fatal(err)
		}
		if err := l.Verify(t.Context(), conn); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.sql, err)
		}
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	i := slices.IndexFunc(l.outcomes, func(o Outcome) bool { return o.Result == Acked })
	l.outcomes[i].Result = Aborted
	if err := l.Verify(t.Context(), conn); err == nil || !strings.Contains(err.Error(), "aborted") {
		t.Errorf("an aborted transaction that is there: %v", err)
	}
	l.outcomes[i].Result = Acked
	l.Resume()
}

func TestWrongStatementEndsTheLoad(t *testing.T) {
	c, url := server(t, 0)
	pgtest.Exec(t, url, "alter table public.seats rename column seat to chair")
	err := New(Config{URL: url, Sessions: 2, Only: []string{"swap unique values"}, Log: discard}).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "swap unique values") || !strings.Contains(err.Error(), "42703") {
		t.Errorf("run ends with %v", err)
	}
	for _, cfg := range []Config{{URL: "x"}, {URL: "x", Log: discard, Sessions: 33}, {URL: "x", Log: discard, Only: []string{"no such"}}} {
		if err := New(cfg).Run(t.Context()); err == nil {
			t.Errorf("%+v is accepted", cfg)
		}
	}
	if err := New(Config{URL: c.URL("nowhere"), Log: discard}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "3D000") {
		t.Errorf("run ends with %v", err)
	}
}

// TestReplay: one session does the same things again.
func TestReplay(t *testing.T) {
	var runs [2][]Entry
	for i := range runs {
		_, url := server(t, 0)
		var mu sync.Mutex
		l := start(t, Config{URL: url, Seed: 5, Sessions: 1, Pause: -1, Journal: func(e Entry) {
			mu.Lock()
			defer mu.Unlock()
			e.Time = time.Time{}
			runs[i] = append(runs[i], e)
		}})
		until(t, l, "do something", committed(120))
		if err := l.stop(); err != nil {
			t.Fatal(err)
		}
	}
	n := min(len(runs[0]), len(runs[1]))
	if diff := cmp.Diff(runs[0][:n], runs[1][:n]); diff != "" {
		t.Error(diff)
	}
}

// TestReallyTOASTed: long keys lie beside their table, those that can be compressed too.
func TestReallyTOASTed(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		_, url := server(t, major)
		conn := pgtest.Connect(t, url)
		var raw []string
		for id := -40; id < 420; id++ {
			raw = append(raw, literal(of(toastKey(id))))
		}
		pgtest.Exec(t, url, `insert into "Odd.Schema".toast_key (k) select unnest(array[`+strings.Join(raw, ",")+"])")
		toasted := query[string](t, conn, `select reltoastrelid::regclass::text from pg_class where oid = '"Odd.Schema".toast_key'::regclass`)
		if n := query[int](t, conn, "select count(distinct chunk_id) from "+toasted); n != len(raw) {
			t.Errorf("%d of %d keys are stored apart", n, len(raw))
		}
		if n := query[int](t, conn, `select count(*) from "Odd.Schema".toast_key where pg_column_size(k) < octet_length(k)`); n != len(raw)/2 {
			t.Errorf("%d of %d keys are compressed", n, len(raw))
		}
	})
}

// TestKindsAreNamedOnce: the deck and Only go by name.
func TestKindsAreNamedOnce(t *testing.T) {
	names := Kinds()
	once := map[string]bool{}
	for _, name := range names {
		once[name] = true
	}
	if len(once) != len(names) {
		t.Errorf("%d names for %d kinds: %v", len(once), len(names), slices.Sorted(maps.Keys(once)))
	}
}
