package snapshot

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidemark/internal/apply"
	"tidemark/internal/postgres/pgtest"
)

// seedOptions prepare a seed from url into a fresh database.
func seedOptions(t *testing.T, url string, major int) StandbyOptions {
	t.Helper()
	return StandbyOptions{SourceURL: url, TargetURL: pgtest.Database(t, major), Publication: "tidemark", Slot: slot(t, url, "pgoutput"), Log: discard()}
}

// TestSeedStandby copies every shape of table from each version to each version.
func TestSeedStandby(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, from int) {
		url := source(t, from)
		want := digests(t, session(t, url))
		pgtest.Each(t, func(t *testing.T, to int) {
			opts := seedOptions(t, url, to)
			defer dropSlot(t, url, opts.Slot)
			var rows, bytes, done atomic.Int64
			planned := false
			opts.Progress = hooks{
				plan:   func() { planned = true },
				copied: func(_ Table, r, b int64) { rows.Add(r); bytes.Add(b) },
				done:   func(Table) { done.Add(1) },
			}
			report, err := SeedStandby(t.Context(), opts)
			if err != nil {
				t.Fatal(err)
			}
			target := session(t, opts.TargetURL)
			if diff := cmp.Diff(want, digests(t, target)); diff != "" {
				t.Errorf("standby differs (-source +standby):\n%s", diff)
			}
			if !planned || rows.Load() != report.Rows || bytes.Load() == 0 || int(done.Load()) != report.Tables {
				t.Errorf("progress: planned %v, %d rows, %d bytes, %d tables; report %+v", planned, rows.Load(), bytes.Load(), done.Load(), report)
			}
			if got := query[string](t, target, "select end_lsn::text from tidemark.progress"); got != report.LSN.String() {
				t.Errorf("progress is %s, want %s", got, report.LSN)
			}
			for sequence, next := range map[string]int64{"up": 1033, "down": -830, "fresh": 42, "small": 110 + 1, "ident_id_seq": 5 + 3*19 + 3*32 + 3} {
				if sequence == "small" { // at its end
					if got := query[int64](t, target, "select last_value from public.small"); got != 110 {
						t.Errorf("small is at %d", got)
					}
					continue
				}
				if got := query[int64](t, target, "select nextval('public."+sequence+"')"); got != next {
					t.Errorf("next of %s is %d, want %d", sequence, got, next)
				}
			}
			if got := query[int64](t, target, "select count from public.mv"); got != 2004 {
				t.Errorf("materialized view counts %d", got)
			}
			if got := query[int](t, target, "select count(*) from pg_trigger where not tgisinternal and tgname = 'touch'"); got != 1 {
				t.Errorf("%d triggers", got)
			}
		})
		noSlots(t, url)
	})
}

func dropSlot(t *testing.T, url, name string) {
	t.Helper()
	pgtest.Exec(t, url, "select pg_drop_replication_slot('"+name+"')")
}

// TestSeedUnderLoad: what is in the standby and what ends behind its progress is everything, without gap or overlap.
func TestSeedUnderLoad(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		url := source(t, major)
		pgtest.Exec(t, url, "create table ledger (id bigserial primary key, filler text default repeat('x', 100))")
		opts := seedOptions(t, url, major)
		opts.Jobs = 3
		oracle := slot(t, url, "test_decoding")
		stop := load(t, url, "insert into public.ledger default values")
		report, err := SeedStandby(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		stop()
		conn := session(t, url)
		total := query[int64](t, conn, "select count(*) from public.ledger")
		seeded := query[int64](t, session(t, opts.TargetURL), "select count(*) from public.ledger")
		behind := query[int64](t, conn, `select count(*) from (select data, max(lsn) filter (where data like 'COMMIT%') over (partition by xid::text) as "end"
from pg_logical_slot_get_changes($1, null, null)) c where data like 'table public.ledger: INSERT%' and "end" > $2::text::pg_lsn`, oracle, report.LSN.String())
		if seeded+behind != total || seeded == 0 || behind == 0 {
			t.Errorf("%d rows seeded and %d behind %s, %d in all", seeded, behind, report.LSN, total)
		}
	})
}

// TestTruncateWaits: a TRUNCATE during the copy waits for its end, and blocks neither the copy nor its other sessions.
func TestTruncateWaits(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		url := source(t, major)
		want := digests(t, session(t, url))
		opts := seedOptions(t, url, major)
		conn := pgtest.Connect(t, url)
		truncated := make(chan error, 1)
		var once sync.Once
		opts.Progress = hooks{copied: func(Table, int64, int64) {
			once.Do(func() {
				go func() {
					_, err := conn.Exec(t.Context(), "truncate child, nocols, plain")
					truncated <- err
				}()
				awaitLock(t, url, "truncate child, nocols, plain")
			})
		}}
		if _, err := SeedStandby(t.Context(), opts); err != nil {
			t.Fatal(err)
		}
		if err := <-truncated; err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, digests(t, session(t, opts.TargetURL))); diff != "" {
			t.Errorf("standby differs (-source +standby):\n%s", diff)
		}
	})
}

// TestSeedDies ends a session on either side in the middle: no progress row, no slot, and Force begins again.
func TestSeedDies(t *testing.T) {
	for name, where := range map[string]struct{ copies, database string }{
		"source": {"copy %to stdout", "source"}, "target": {"copy %from stdin", "target"}, "snapshot": {"CREATE_REPLICATION_SLOT%", "source"},
	} {
		t.Run(name, func(t *testing.T) {
			url := source(t, 0)
			pgtest.Exec(t, url, "insert into plain (id, note) select i, repeat('x', 500) from generate_series(100000, 140000) i")
			opts := seedOptions(t, url, 0)
			kill := map[string]string{"source": url, "target": opts.TargetURL}[where.database]
			var once sync.Once
			opts.Progress = hooks{copied: func(Table, int64, int64) {
				once.Do(func() {
					n := query[int](t, session(t, kill), "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and query like $1 and pid <> pg_backend_pid()", where.copies)
					if n == 0 {
						t.Errorf("nothing to end on %s", where.database)
					}
				})
			}}
			report, err := SeedStandby(t.Context(), opts)
			if name == "snapshot" { // who has imported it keeps it
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || strings.Contains(err.Error(), "\n") {
				t.Fatalf("seed gives %+v, %v", report, err)
			}
			if n := query[int](t, session(t, opts.TargetURL), "select count(*) from tidemark.progress"); n != 0 {
				t.Error("half a copy is called seeded")
			}
			noSlots(t, url)
			opts.Progress = nil
			if _, err := SeedStandby(t.Context(), opts); !errors.Is(err, ErrNotEmpty) {
				t.Errorf("second seed without force gives %v", err)
			}
			opts.Force = true
			if _, err := SeedStandby(t.Context(), opts); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(digests(t, session(t, url)), digests(t, session(t, opts.TargetURL))); diff != "" {
				t.Errorf("standby differs (-source +standby):\n%s", diff)
			}
		})
	}
}

// TestSeedAgain: a seeded standby is kept unless forced, and keeps its data when refused.
func TestSeedAgain(t *testing.T) {
	url := source(t, 0)
	opts := seedOptions(t, url, 0)
	if _, err := SeedStandby(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	before := digests(t, session(t, opts.TargetURL))
	if _, err := SeedStandby(t.Context(), opts); !errors.Is(err, ErrNotEmpty) || !strings.Contains(err.Error(), "--force") {
		t.Errorf("seeding again gives %v", err)
	}
	if diff := cmp.Diff(before, digests(t, session(t, opts.TargetURL))); diff != "" {
		t.Errorf("refused, and changed:\n%s", diff)
	}
	opts.Force = true
	pgtest.Exec(t, opts.TargetURL, "create extension if not exists plpgsql; create schema extra; create table extra.t (i int)")
	if _, err := SeedStandby(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, digests(t, session(t, opts.TargetURL))); diff != "" {
		t.Errorf("forced copy differs:\n%s", diff)
	}
}

func TestSeedRefusals(t *testing.T) {
	url := source(t, 0)
	good := seedOptions(t, url, 0)
	busy := seedOptions(t, url2(t), 0)
	for name, test := range map[string]struct {
		change func(*StandbyOptions)
		want   string
	}{
		"itself":         {func(o *StandbyOptions) { o.TargetURL, o.Force = url, true }, "the source itself"},
		"no slot":        {func(o *StandbyOptions) { o.Slot = "nowhere" }, "tidemark init"},
		"other slot":     {func(o *StandbyOptions) { o.Slot = busy.Slot }, "tidemark check"},
		"no publication": {func(o *StandbyOptions) { o.Publication = "nowhere" }, "tidemark init"},
		"no source":      {func(o *StandbyOptions) { o.SourceURL = "postgres://postgres@127.0.0.1:1/x?sslmode=disable" }, "connect to source"},
		"no target":      {func(o *StandbyOptions) { o.TargetURL = "postgres://postgres@127.0.0.1:1/x?sslmode=disable" }, "connect to target"},
	} {
		t.Run(name, func(t *testing.T) {
			opts := good
			test.change(&opts)
			_, err := SeedStandby(t.Context(), opts)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("seed gives %v, want %q", err, test.want)
			}
		})
	}
	if n := len(digests(t, session(t, url))); n < 10 {
		t.Errorf("source has %d tables left", n)
	}
	noSlots(t, url)
}

func url2(t *testing.T) string {
	url := pgtest.Database(t, 0)
	pgtest.Exec(t, url, "create publication tidemark for all tables")
	return url
}

// TestSeedKeepsApplierOut: a target that a standby sink applies to is refused, and untouched.
func TestSeedKeepsApplierOut(t *testing.T) {
	url := source(t, 0)
	opts := seedOptions(t, url, 0)
	opts.Force = true
	pgtest.Exec(t, opts.TargetURL, "create table precious (i int)")
	conn := session(t, url)
	stream := query[string](t, conn, "select system_identifier || '/' || current_database() from pg_control_system()")
	a, err := apply.Open(t.Context(), apply.Config{URL: opts.TargetURL, Stream: stream}, discard())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Close(context.Background()) }()
	if _, err := SeedStandby(t.Context(), opts); !errors.Is(err, apply.ErrLocked) {
		t.Errorf("seed gives %v", err)
	}
	if query[int](t, session(t, opts.TargetURL), "select count(*) from pg_class where relname = 'precious'") != 1 {
		t.Error("the target was touched")
	}
}
