package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tidemark/internal/config"
	"tidemark/internal/control"
	"tidemark/internal/position"
	"tidemark/internal/postgres/pgtest"
	"tidemark/internal/snapshot"
	"tidemark/internal/trace"
)

func TestMain(m *testing.M) {
	code := pgtest.Main(m)
	// The embedded server ends these loops when it pleases.
	const nats = "github.com/nats-io/nats-server/v2/server"
	err := goleak.Find(goleak.IgnoreAnyFunction(nats+".(*fileStore).flushStreamStateLoop"), goleak.IgnoreAnyFunction(nats+"/ats.Register.func1"))
	if err != nil && code == 0 {
		slog.Error("goroutines are left", "error", err)
		code = 1
	}
	os.Exit(code)
}

// rig is a service with its source and standby.
type rig struct {
	cfg             config.Config
	source, standby string
	service         *Service
	trace           *trace.Writer
	stop            context.CancelFunc
	done            chan error
}

func newRig(t *testing.T, major int) *rig {
	t.Helper()
	dir := t.TempDir()
	r := &rig{source: pgtest.Database(t, major), standby: pgtest.Database(t, major)}
	cfg := config.Default()
	cfg.Source.URL, cfg.Sinks.Standby.URL = config.Secret(r.source), config.Secret(r.standby)
	database, _, _ := strings.Cut(filepath.Base(r.source), "?")
	cfg.Source.Slot = "tidemark_" + database
	cfg.Source.Heartbeat = config.Duration(200 * time.Millisecond)
	cfg.Journal.Dir = filepath.Join(dir, "journal")
	cfg.Sinks.NATS.Embedded = config.Embedded{Listen: "127.0.0.1:0", Dir: filepath.Join(dir, "nats")}
	cfg.Sinks.Archive.URL = "file://" + filepath.Join(dir, "archive")
	cfg.Sinks.Archive.FlushInterval = config.Duration(200 * time.Millisecond)
	cfg.HTTP.Listen = "127.0.0.1:0"
	r.cfg = cfg
	return r
}

func (r *rig) start(t *testing.T, prepare bool) {
	t.Helper()
	log := slog.New(slog.NewTextHandler(testWriter{t}, nil))
	service, err := Open(t.Context(), r.cfg, Options{Version: "test", Log: log, Prepare: prepare, Trace: r.trace})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.service, r.stop, r.done = service, cancel, make(chan error, 1)
	go func() { r.done <- service.Run(ctx) }()
}

func (r *rig) end(t *testing.T) {
	t.Helper()
	r.stop()
	select {
	case err := <-r.done:
		if err != nil {
			t.Errorf("run: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the service does not stop")
	}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// reach waits until every copy holds all that the source has committed by now.
func (r *rig) reach(t *testing.T) control.State {
	t.Helper()
	var text string
	if err := pgtest.Connect(t, r.source).QueryRow(t.Context(), "select pg_current_wal_insert_lsn()::text").Scan(&text); err != nil {
		t.Fatal(err)
	}
	end, err := position.ParseLSN(text)
	if err != nil {
		t.Fatal(err)
	}
	return r.await(t, "every copy at "+text, func(s control.State) bool {
		for _, c := range s.Copies {
			if c.Position < end {
				return false
			}
		}
		return true
	})
}

func (r *rig) await(t *testing.T, what string, ok func(control.State) bool) control.State {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		s := r.service.State()
		if ok(s) {
			return s
		}
		if time.Now().After(deadline) {
			b, _ := json.MarshalIndent(s, "", " ")
			t.Fatalf("waited in vain for %s: %s", what, b)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func digest(t *testing.T, url string) string {
	t.Helper()
	var out string
	err := pgtest.Connect(t, url).QueryRow(t.Context(), "select count(*) || ' ' || coalesce(md5(string_agg(a::text, ',' order by id)), '') from public.a").Scan(&out)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWholePathAndRestart(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		r := newRig(t, major)
		pgtest.Exec(t, r.source, "create table a(id int primary key, v text)", "insert into a select i, 'before' from generate_series(1, 100) i")
		r.start(t, true)
		if _, err := snapshot.SeedStandby(t.Context(), snapshot.StandbyOptions{
			SourceURL: r.source, TargetURL: r.standby, Publication: r.cfg.Source.Publication.Name, Slot: r.cfg.Source.Slot,
			Log: slog.New(slog.DiscardHandler),
		}); err != nil {
			t.Fatal(err)
		}
		pgtest.Exec(t, r.source, "insert into a select i, 'after' from generate_series(101, 300) i", "update a set v = v || '!' where id % 3 = 0", "delete from a where id % 7 = 0")
		s := r.reach(t)
		if got, want := digest(t, r.standby), digest(t, r.source); got != want {
			t.Errorf("standby is %s, source %s", got, want)
		}
		if len(s.Copies) != 4 {
			t.Errorf("copies are %+v", s.Copies)
		}
		r.await(t, "ready", func(s control.State) bool { return s.Ready })
		checkHTTP(t, r.service.HTTPAddr())
		r.end(t)

		checkAges(t, r)
		// Nothing is lost that is committed while the service is away.
		pgtest.Exec(t, r.source, "insert into a values (1000, 'away')")
		r.start(t, false)
		r.reach(t)
		if got, want := digest(t, r.standby), digest(t, r.source); got != want {
			t.Errorf("after a restart the standby is %s, the source %s", got, want)
		}
		r.end(t)
	})
}

// checkAges: how far a copy was behind is known again after a restart.
func checkAges(t *testing.T, r *rig) {
	t.Helper()
	s, err := Open(t.Context(), r.cfg, Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(s.close(t.Context()), s.http.Close()); err != nil {
			t.Error(err)
		}
	}()
	end, last := s.journal.Durable()
	if _, missing, known := s.ages.Oldest(end); missing || !known {
		t.Errorf("a copy that holds everything lacks something: %v, %v", missing, known)
	}
	oldest, missing, known := s.ages.Oldest(s.journal.Oldest())
	if !missing || !known || oldest.IsZero() || oldest > last {
		t.Errorf("the oldest commit of the journal is %v (missing %v, known %v), the last %v", oldest, missing, known, last)
	}
}

func checkHTTP(t *testing.T, addr string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"source_commit_timestamp_seconds", `copy_commit_timestamp_seconds{copy="standby"}`, `copy_lag_seconds{copy="nats"`,
		`copy_lag_bytes{copy="archive"}`, `copy_position_lsn{copy="journal"}`, "clock_offset_seconds", `rpo_target_seconds{copy="standby",tier="1"} 5`,
		`rpo_status{copy="journal",status="healthy",tier="1"} 1`, "slot_retained_bytes", "slot_active 1", "journal_bytes",
		"journal_fsync_duration_seconds_count", "captured_transactions_total", `captured_rows_total{op="insert"}`,
		`sink_applied_rows_total{copy="standby"}`, "build_info",
	} {
		if !strings.Contains(string(body), "tidemark_"+name) {
			t.Errorf("metric %s is missing", name)
		}
	}
}

func TestIdleSourceThenRestart(t *testing.T) {
	r := newRig(t, 0)
	pgtest.Exec(t, r.source, "create table a(id int primary key, v text)")
	r.cfg.Sinks.Standby.URL = ""
	r.cfg.Source.Heartbeat = config.Duration(time.Minute) // nothing but keepalives
	r.start(t, true)
	s := r.await(t, "connected", func(s control.State) bool { return s.Source.Connected })
	before := s.Source.Received
	// Another database's WAL moves the slot through keepalives alone.
	other := pgtest.Database(t, 0)
	pgtest.Exec(t, other, "create table b as select i from generate_series(1, 10000) i")
	slot := pgtest.Connect(t, r.source)
	deadline := time.Now().Add(20 * time.Second)
	for moved := false; !moved; {
		if time.Now().After(deadline) {
			t.Fatal("the slot does not move with an idle database")
		}
		err := slot.QueryRow(t.Context(), "select confirmed_flush_lsn > $1::text::pg_lsn + 100000 from pg_replication_slots where slot_name = $2",
			before.String(), r.cfg.Source.Slot).Scan(&moved)
		if err != nil {
			t.Fatal(err)
		}
	}
	r.end(t)
	pgtest.Exec(t, r.source, "insert into a values (1, 'x')")
	r.start(t, false)
	r.await(t, "the row", func(s control.State) bool { return s.Source.Received > before })
	r.end(t)
}

// A dead standby delays neither the acknowledgement nor the other copies (P5), and is seen (P7).
func TestDeadSinkStopsNothingElse(t *testing.T) {
	r := newRig(t, 0)
	pgtest.Exec(t, r.source, "create table a(id int primary key, v text)")
	r.cfg.Sinks.Standby.URL = "postgres://nobody@127.0.0.1:1/none"
	r.start(t, true)
	defer r.end(t)
	pgtest.Exec(t, r.source, "insert into a select i, 'x' from generate_series(1, 1000) i")
	var end position.LSN
	var text string
	if err := pgtest.Connect(t, r.source).QueryRow(t.Context(), "select pg_current_wal_insert_lsn()::text").Scan(&text); err != nil {
		t.Fatal(err)
	}
	end, err := position.ParseLSN(text)
	if err != nil {
		t.Fatal(err)
	}
	s := r.await(t, "journal, stream and archive", func(s control.State) bool {
		for _, c := range s.Copies {
			if c.Name != "standby" && c.Position < end {
				return false
			}
		}
		return true
	})
	if s.Ready || !strings.Contains(strings.Join(s.Reasons, " "), "copy standby is") {
		t.Errorf("ready is %v: %v", s.Ready, s.Reasons)
	}
	var confirmed bool
	slot := pgtest.Connect(t, r.source)
	for deadline := time.Now().Add(10 * time.Second); !confirmed; {
		if time.Now().After(deadline) {
			t.Fatal("a dead standby holds the slot")
		}
		if err := slot.QueryRow(t.Context(), "select confirmed_flush_lsn >= $1::text::pg_lsn from pg_replication_slots where slot_name = $2",
			text, r.cfg.Source.Slot).Scan(&confirmed); err != nil {
			t.Fatal(err)
		}
	}
}

// The primary is dead and the service is started: what the journal holds must still reach a copy that lacks it.
func TestSourceAwayAtStart(t *testing.T) {
	r := newRig(t, 0)
	pgtest.Exec(t, r.source, "create table a(id int primary key, v text)")
	r.cfg.Sinks.Standby.URL = ""
	r.start(t, true)
	pgtest.Exec(t, r.source, "insert into a select i, 'x' from generate_series(1, 100) i")
	var end position.LSN
	for _, c := range r.reach(t).Copies {
		if c.Name == "journal" {
			end = c.Position
		}
	}
	r.end(t)
	r.cfg.Source.URL = "postgres://nobody@127.0.0.1:1/none"
	r.cfg.Sinks.Archive.URL = "file://" + filepath.Join(t.TempDir(), "another")
	r.start(t, false)
	s := r.await(t, "the new archive", func(s control.State) bool {
		for _, c := range s.Copies {
			if c.Position < end {
				return false
			}
		}
		return true
	})
	if s.Source.Connected || s.Ready {
		t.Errorf("the state says connected %v, ready %v", s.Source.Connected, s.Ready)
	}
	r.end(t)
}

func TestOpenRefuses(t *testing.T) {
	r := newRig(t, 0)
	pgtest.Exec(t, r.source, "create table a(id int primary key, v text)")
	r.start(t, true)
	defer r.end(t)
	open := func(change func(*config.Config)) error {
		cfg := r.cfg
		cfg.Sinks.NATS.Embedded.Dir = t.TempDir()
		change(&cfg)
		s, err := Open(t.Context(), cfg, Options{Log: slog.New(slog.DiscardHandler)})
		if err == nil {
			_ = s.close(t.Context())
			_ = s.http.Close()
		}
		return err
	}
	for name, c := range map[string]struct {
		change func(*config.Config)
		want   string
	}{
		"a second service":        {func(*config.Config) {}, "another tidemark uses it"},
		"a port in use":           {func(c *config.Config) { c.HTTP.Listen = r.service.HTTPAddr() }, "set http.listen to a free port"},
		"a missing slot":          {func(c *config.Config) { c.Journal.Dir, c.Source.Slot = t.TempDir(), "none" }, "run tidemark init"},
		"a missing publication":   {func(c *config.Config) { c.Journal.Dir, c.Source.Publication.Name = t.TempDir(), "none" }, "run tidemark init"},
		"a journal dir in a file": {func(c *config.Config) { c.Journal.Dir = "/dev/null/journal" }, "set journal.dir"},
	} {
		t.Run(name, func(t *testing.T) {
			err := open(c.change)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error is %v, want one line with %q", err, c.want)
			}
		})
	}
}
