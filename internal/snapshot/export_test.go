package snapshot

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"tidemark/internal/postgres"
	"tidemark/internal/postgres/pgtest"
	"tidemark/internal/postgres/throwaway"
)

// TestExportIsExact checks the promise itself, under load: rows in the snapshot and rows that end behind its LSN are all
// rows, without gap or overlap.
func TestExportIsExact(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		url := pgtest.Database(t, major)
		pgtest.Exec(t, url, "create table ledger (id bigserial primary key)")
		oracle := slot(t, url, "test_decoding")
		stop := load(t, url, "insert into public.ledger default values")
		conn := session(t, url)
		for range 5 {
			taken, err := Export(t.Context(), url, discard())
			if err != nil {
				t.Fatal(err)
			}
			if err := enterAlone(t, conn, taken); err != nil {
				t.Fatal(err)
			}
			want := query[int64](t, conn, "select count(*) from public.ledger")
			pgtest.Exec(t, url, "insert into ledger default values")
			if _, err := conn.Exec(t.Context(), "rollback"); err != nil {
				t.Fatal(err)
			}
			got := query[int64](t, session(t, url), `select count(*) from (select data, max(lsn) filter (where data like 'COMMIT%') over (partition by xid::text) as "end"
from pg_logical_slot_peek_changes($1, null, null)) c where data like '%INSERT%' and "end" <= $2::text::pg_lsn`, oracle, taken.LSN.String())
			if got != want || want == 0 {
				t.Errorf("snapshot has %d rows, transactions up to %s have %d", want, taken.LSN, got)
			}
			if taken.Version.Major() != major || taken.SystemID == "" || taken.Timeline != 1 || taken.Encoding != "UTF8" || time.Since(taken.Time).Abs() > time.Minute {
				t.Errorf("snapshot is %+v", taken)
			}
			if err := taken.Close(); err != nil {
				t.Error(err)
			}
		}
		stop()
		noSlots(t, url)
	})
}

// load runs a statement again and again over several connections until stop is called.
func load(t *testing.T, url, sql string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended, first := make(chan error), make(chan struct{}, 4)
	for range 4 {
		conn := pgtest.Connect(t, url)
		go func() {
			for i := 0; ctx.Err() == nil; i++ {
				if _, err := conn.Exec(context.WithoutCancel(ctx), sql); err != nil {
					ended <- err
					return
				}
				if i == 0 {
					first <- struct{}{}
				}
			}
			ended <- nil
		}()
	}
	<-first
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		for range 4 {
			if err := <-ended; err != nil {
				t.Errorf("load: %v", err)
			}
		}
	}
	t.Cleanup(stop)
	return stop
}

// noSlots waits until the server has noticed that our connection is gone, and fails when a slot of ours stays.
func noSlots(t *testing.T, url string) {
	t.Helper()
	eventually(t, "the temporary slot is gone", func() bool {
		return query[int](t, session(t, url), "select count(*) from pg_replication_slots where slot_name like 'tidemark_snapshot%'") == 0
	})
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited for: %s", what)
		}
	}
}

// TestExportWaitsAndCancels gives up while an open transaction holds the slot's creation back.
func TestExportWaitsAndCancels(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		url := pgtest.Database(t, major)
		open := pgtest.Connect(t, url)
		if _, err := open.Exec(t.Context(), "begin; create table held ()"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error)
		go func() {
			_, err := Export(ctx, url, discard())
			result <- err
		}()
		watch := session(t, url)
		eventually(t, "slot creation waits", func() bool {
			return query[int](t, watch, "select count(*) from pg_stat_activity where application_name = 'tidemark snapshot' and wait_event_type = 'Lock'") == 1
		})
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("export ended with %v", err)
		}
		noSlots(t, url)
	})
}

func TestExportRefusesSynchronousStandby(t *testing.T) {
	c := pgtest.Start(t, throwaway.Options{})
	url := c.URL("postgres")
	pgtest.Exec(t, url, "alter system set synchronous_standby_names = 'ANY 1 (other, \"Tidemark\")'")
	pgtest.Exec(t, url, "select pg_reload_conf()")
	eventually(t, "setting is read", func() bool {
		return strings.Contains(query[string](t, session(t, url), "show synchronous_standby_names"), "idemark")
	})
	if _, err := Export(t.Context(), url, discard()); err == nil || !strings.Contains(err.Error(), "synchronous_standby_names") {
		t.Errorf("export gives %v", err)
	}
}

func TestNamesUs(t *testing.T) {
	for setting, want := range map[string]bool{
		"": false, "tidemark": true, "FIRST 2 (a, tidemark)": true, `ANY 1 ("tidemark",b)`: true, "other": false, "tidemark2": false, "*": false,
	} {
		if namesUs(setting) != want {
			t.Errorf("%q names us: %v", setting, !want)
		}
	}
}

// TestSnapshotSurvivesTimeLimits: a role's own limits end neither the snapshot nor the sessions.
func TestSnapshotSurvivesTimeLimits(t *testing.T) {
	url := pgtest.Database(t, 0)
	pgtest.Exec(t, url, `do $$ begin
execute format('alter database %I set idle_in_transaction_session_timeout = 50', current_database());
execute format('alter database %I set idle_session_timeout = 50', current_database());
end $$`)
	taken, err := Export(t.Context(), url, discard())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	conn, err := connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer closeSession(conn)
	time.Sleep(200 * time.Millisecond) // four times the limits
	if err := enterAlone(t, conn, taken); err != nil {
		t.Fatal(err)
	}
}

// TestChangedBetween: what slips in between snapshot and locks, or between schema and locks, is seen.
func TestChangedBetween(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		url := source(t, major)
		now := session(t, url)
		for _, test := range []struct {
			change  string
			altered bool
		}{
			{"truncate plain", false}, {"vacuum full part_low", false}, {"alter table nothing alter id type bigint", true}, {"alter table plain add column more int", true},
			{"alter table gen rename column b to c", true}, {"alter table ident replica identity full", true}, {"create table another (i int primary key)", true},
		} {
			tables, err := Tables(t.Context(), now, "tidemark")
			if err != nil {
				t.Fatal(err)
			}
			before, err := shapes(t.Context(), now, tables)
			if err != nil {
				t.Fatal(err)
			}
			taken, err := Export(t.Context(), url, discard())
			if err != nil {
				t.Fatal(err)
			}
			pgtest.Exec(t, url, test.change)
			a := attempt{url: url, publication: "tidemark", now: now, log: discard()}
			if a.source, err = open(t.Context(), url, 2); err != nil {
				t.Fatal(err)
			}
			if err := a.source.enter(t.Context(), taken, tables, discard()); err != nil {
				t.Fatal(err)
			}
			if err := a.source.list(t.Context(), "tidemark"); err != nil {
				t.Fatal(err)
			}
			if err := a.source.unchanged(t.Context(), now); !errors.Is(err, ErrChanged) && !strings.HasPrefix(test.change, "create") {
				t.Errorf("%s after the snapshot: %v", test.change, err)
			}
			if err := taken.Close(); err != nil {
				t.Error(err)
			}
			// The next snapshot has it, and is refused only where the schema does not fit.
			next, err := a.withRows(t.Context(), tables)
			if err != nil {
				t.Fatal(err)
			}
			if err := next.source.defined(t.Context(), before); errors.Is(err, ErrChanged) != test.altered {
				t.Errorf("%s after the schema: %v", test.change, err)
			}
			if err := next.close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// enterAlone takes one session into a snapshot.
func enterAlone(t *testing.T, conn *pgx.Conn, e *Exported) error {
	t.Helper()
	return (&sessions{conns: []*pgx.Conn{conn}}).lock(t.Context(), e, nil)
}

// TestTakeAmongTruncates: a table that is truncated all the time does not keep the snapshot from being taken; and however often that
// happens, nobody waits for ever.
func TestTakeAmongTruncates(t *testing.T) {
	for pause, must := range map[string]bool{"0.2": true, "0.005": false} {
		t.Run(pause, func(t *testing.T) {
			url := source(t, 0)
			pgtest.Exec(t, url, "create table busy (i int primary key)")
			stop := load(t, url, "truncate public.busy; insert into public.busy values (1); commit; select pg_sleep("+pause+")")
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for range map[bool]int{true: 5, false: 1}[must] {
				ready, err := take(ctx, url, "tidemark", 3, discard())
				switch {
				case err == nil:
					if err := ready.close(); err != nil {
						t.Error(err)
					}
				case must, ctx.Err() != nil, !errors.Is(err, ErrChanged) && postgres.Code(err) != lockNotAvailable:
					t.Fatal(err)
				}
				t.Log(err)
			}
			stop()
		})
	}
}

// TestWaitsForLocks: somebody holds a table for longer than the sessions wait together.
func TestWaitsForLocks(t *testing.T) {
	url := source(t, 0)
	taken, err := Export(t.Context(), url, discard())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	holder := pgtest.Connect(t, url)
	if _, err := holder.Exec(t.Context(), "begin; lock table child in access exclusive mode"); err != nil {
		t.Fatal(err)
	}
	s, err := open(t.Context(), url, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer s.release()
	entered := make(chan error, 1)
	go func() {
		entered <- s.enter(t.Context(), taken, []Table{{Schema: "public", Name: "plain"}, {Schema: "public", Name: "child"}}, discard())
	}()
	watch := session(t, url)
	eventually(t, "one session waits alone, for longer than all together", func() bool {
		return query[int](t, watch, `select count(*) from pg_stat_activity where application_name = 'tidemark snapshot' and datname = current_database()
  and wait_event_type = 'Lock' and clock_timestamp() - query_start > '1 second'`) == 1
	})
	if _, err := holder.Exec(t.Context(), "commit"); err != nil {
		t.Fatal(err)
	}
	if err := <-entered; err != nil {
		t.Error(err)
	}
}

// TestLocksGiveWay: when a TRUNCATE waits for one of our sessions and another one would wait behind it, all give way.
func TestLocksGiveWay(t *testing.T) {
	url := source(t, 0)
	taken, err := Export(t.Context(), url, discard())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	s, err := open(t.Context(), url, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer s.release()
	tables := []Table{{Schema: "public", Name: "child"}}
	first := &sessions{conns: s.conns[:1]}
	if err := first.lock(t.Context(), taken, tables); err != nil {
		t.Fatal(err)
	}
	truncated := make(chan error, 1)
	conn := pgtest.Connect(t, url)
	go func() {
		_, err := conn.Exec(t.Context(), "truncate child")
		truncated <- err
	}()
	awaitLock(t, url, "truncate child")
	second := &sessions{conns: s.conns[1:]}
	if err := second.lock(t.Context(), taken, tables); postgres.Code(err) != lockNotAvailable {
		t.Fatalf("locks behind a waiting TRUNCATE: %v", err)
	}
	if err := s.wait(t.Context(), tables); err != nil {
		t.Fatal(err)
	}
	if err := <-truncated; err != nil {
		t.Fatal(err)
	}
	if err := s.enter(t.Context(), taken, tables, discard()); err != nil {
		t.Fatal(err)
	}
}

// awaitLock waits until a statement waits for a lock.
func awaitLock(t *testing.T, url, statement string) {
	t.Helper()
	watch := session(t, url)
	eventually(t, statement+" waits", func() bool {
		return query[int](t, watch, "select count(*) from pg_stat_activity where query = $1 and wait_event_type = 'Lock'", statement) == 1
	})
}

func TestTables(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		url := source(t, major)
		conn := session(t, url)
		list, err := Tables(t.Context(), conn, "tidemark")
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, table := range list {
			got[table.String()] = strings.Join(table.Columns, " ")
		}
		for name, columns := range map[string]string{
			"public.gen": "a b", "public.nocols": "", "public.only_gen": "", "public.part_low": "k v", "public.part_high_1": "k v",
			`Ünï.cödé.a".b c/../d`: "sel;ect ü", "public.ident": "id v",
		} {
			if have, ok := got[name]; !ok || have != columns {
				t.Errorf("%s has columns %q (%v), want %q", name, have, ok, columns)
			}
		}
		for _, name := range []string{"public.part", "public.part_high", "tidemark.own", "public.unlogged", "public.mv", "public.seen"} {
			if _, ok := got[name]; ok {
				t.Errorf("%s is listed", name)
			}
		}
		if list[0].Name != "plain" || list[0].Bytes < 8192 {
			t.Errorf("largest is %+v", list[0])
		}
		if _, err := Tables(t.Context(), conn, "nowhere"); err == nil || !strings.Contains(err.Error(), "tidemark init") {
			t.Errorf("missing publication: %v", err)
		}
		pgtest.Exec(t, url, "create publication roots for table part with (publish_via_partition_root)")
		if _, err := Tables(t.Context(), conn, "roots"); err == nil || !strings.Contains(err.Error(), "public.part") {
			t.Errorf("publication via root: %v", err)
		}
	})
}
