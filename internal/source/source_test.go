package source

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tidemark/internal/position"
	"tidemark/internal/postgres/pgtest"
	"tidemark/internal/postgres/throwaway"
)

func TestMain(m *testing.M) {
	code := pgtest.Main(m)
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// configFor gives each test a slot of its own: slots belong to the cluster.
func configFor(t *testing.T, url string) Config {
	t.Helper()
	name := strings.ToLower(strings.Map(func(r rune) rune {
		if r == '/' || r == '-' {
			return '_'
		}
		return r
	}, t.Name()))
	return Config{URL: url, Slot: name[:min(len(name), 60)]}.WithDefaults()
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func mustInit(t *testing.T, cfg Config) Report {
	t.Helper()
	r, err := Init(t.Context(), cfg, quiet())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wantRefusal(t *testing.T, err error, parts ...string) {
	t.Helper()
	if !errors.Is(err, ErrRefused) {
		t.Fatalf("error is %v, want a refusal", err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("refusal %q does not say %q", err, part)
		}
	}
}

func TestInitIsIdempotent(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		url := pgtest.Database(t, major)
		pgtest.Exec(t, url, `create table "Odd ""Name"(id int primary key)`, "create table b(id int primary key)",
			"create unlogged table u(id int primary key)")
		cfg := configFor(t, url)
		first := mustInit(t, cfg)
		if !first.SlotCreated || first.Tables != 5 || first.Generation.IsZero() || len(first.Statements) != 1 {
			t.Errorf("first report is %+v", first)
		}
		if len(first.Warnings) == 0 || !strings.Contains(first.Warnings[len(first.Warnings)-1].Text, "public.u") {
			t.Errorf("unlogged table is not reported: %+v", first.Warnings)
		}
		second := mustInit(t, cfg)
		if second.SlotCreated || len(second.Statements) != 0 || second.Generation != first.Generation {
			t.Errorf("second report is %+v", second)
		}
		for _, f := range Check(t.Context(), cfg) {
			if f.Level == Fail {
				t.Errorf("check fails after init: %+v", f)
			}
		}
	})
}

func TestInitReconcilesPublication(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		url := pgtest.Database(t, major)
		pgtest.Exec(t, url, "create table a(id int primary key)", "create table b(id int primary key)",
			"create schema s", "create table s.p(id int primary key) partition by range (id)",
			"create table s.p1 partition of s.p for values from (0) to (10)")
		cfg := configFor(t, url)
		cfg.Publication.Exclude = []string{"*.b"}
		mustInit(t, cfg)
		if got := publishedTables(t, url); got != "public.a s.p1 tidemark.ddl tidemark.heartbeat tidemark.sequence" {
			t.Errorf("published %s", got)
		}
		pgtest.Exec(t, url, "create table c(id int primary key)", "create table s.p2 partition of s.p for values from (10) to (20)",
			"alter publication tidemark drop table a", "alter publication tidemark add table b",
			"alter publication tidemark set (publish = 'insert', publish_via_partition_root = true)")
		if major >= 15 {
			pgtest.Exec(t, url, "alter publication tidemark add table c where (id > 3)")
		}
		drift := Check(t.Context(), cfg)
		for _, part := range []string{"leaves out insert", "publish_via_partition_root", "public.a matches", "public.b is published"} {
			if !hasFinding(drift, part) {
				t.Errorf("check does not say %q: %+v", part, drift)
			}
		}
		mustInit(t, cfg)
		if got := publishedTables(t, url); got != "public.a public.c s.p1 s.p2 tidemark.ddl tidemark.heartbeat tidemark.sequence" {
			t.Errorf("published %s", got)
		}
		if r := mustInit(t, cfg); len(r.Statements) != 0 {
			t.Errorf("a third init still changes: %v", r.Statements)
		}
	})
}

func hasFinding(list []Finding, part string) bool {
	for _, f := range list {
		if strings.Contains(f.Text, part) {
			return true
		}
	}
	return false
}

func publishedTables(t *testing.T, url string) string {
	t.Helper()
	var s string
	err := pgtest.Connect(t, url).QueryRow(t.Context(),
		"select string_agg(schemaname||'.'||tablename, ' ' order by 1) from (select * from pg_publication_tables order by schemaname, tablename) t where pubname = 'tidemark'").Scan(&s)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestInitRefusesTablesWithoutIdentity(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		url := pgtest.Database(t, major)
		pgtest.Exec(t, url, "create table plain(i int)", "create table deferred(i int primary key deferrable)",
			"create table nothing(i int primary key)", "alter table nothing replica identity nothing",
			"create table full_(i int)", "alter table full_ replica identity full",
			"create table p(i int) partition by list (i)", "create table leaf partition of p default")
		cfg := configFor(t, url)
		_, err := Init(t.Context(), cfg, quiet())
		wantRefusal(t, err, `ALTER TABLE "public"."plain" REPLICA IDENTITY FULL`, `"public"."deferred"`, `"public"."nothing"`, `"public"."leaf"`)
		if strings.Contains(err.Error(), "full_") {
			t.Errorf("a table with identity full is refused: %v", err)
		}
		if n := strings.Count(err.Error(), "\n"); n != 3 {
			t.Errorf("%d line breaks, want one line for each of 4 tables: %v", n, err)
		}
		var made bool
		if err := pgtest.Connect(t, url).QueryRow(t.Context(), "select to_regnamespace('tidemark') is not null or exists (select from pg_publication)").Scan(&made); err != nil || made {
			t.Errorf("something was made in spite of the refusal: %v, %v", made, err)
		}
		cfg.Publication.Exclude = []string{"public.plain", "public.deferred", "public.nothing", "public.p", "public.leaf"}
		mustInit(t, cfg)
	})
}

func TestInitRefusesMissingRights(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		c := pgtest.Shared(t, major)
		url := pgtest.DatabaseOn(t, c)
		db := url[strings.LastIndex(url, "/")+1 : strings.Index(url, "?")]
		pgtest.Exec(t, url, "create table a(id int primary key)", "drop role if exists weak", "create role weak login password 'w'")
		cfg := configFor(t, c.URLFor("weak", "w", db))
		_, err := Init(t.Context(), cfg, quiet())
		wantRefusal(t, err, `ALTER ROLE "weak" REPLICATION;`, `GRANT CREATE ON DATABASE "`+db+`" TO "weak";`, `does not own public.a`, `CREATE PUBLICATION "tidemark"`)
		_, err = Gate(t.Context(), cfg, Identity{}, 0)
		if err == nil || !strings.Contains(err.Error(), "REPLICATION") {
			t.Errorf("gate without the right says %v", err)
		}
		pgtest.Exec(t, url, "alter role weak replication", "grant create on database "+db+" to weak", "alter table a owner to weak")
		mustInit(t, cfg)
		if err := Destroy(t.Context(), cfg); err != nil {
			t.Error(err)
		}
		pgtest.Exec(t, url, "drop owned by weak cascade", "drop role weak")
	})
}

func TestInitRefusesServerSettings(t *testing.T) {
	c := pgtest.Start(t, throwaway.Options{Settings: map[string]string{"wal_level": "replica", "max_replication_slots": "0", "max_wal_senders": "0",
		"synchronous_standby_names": `'FIRST 1 (other, "Tidemark")'`}})
	_, err := Init(t.Context(), configFor(t, c.URL("postgres")), quiet())
	wantRefusal(t, err, "ALTER SYSTEM SET wal_level = logical", "max_replication_slots = 5", "max_wal_senders = 5", "synchronous_standby_names")
}

func TestInitRefusesForeignPublicationAndSlot(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		url := pgtest.Database(t, major)
		cfg := configFor(t, url)
		pgtest.Exec(t, url, "create publication tidemark for all tables")
		_, err := Init(t.Context(), cfg, quiet())
		wantRefusal(t, err, "FOR ALL TABLES")
		pgtest.Exec(t, url, "drop publication tidemark", "select pg_create_logical_replication_slot('"+cfg.Slot+"', 'test_decoding')")
		_, err = Init(t.Context(), cfg, quiet())
		wantRefusal(t, err, "not a logical slot of pgoutput")
	})
}

func TestStandbyNames(t *testing.T) {
	for setting, want := range map[string]string{
		"":                          "",
		"tidemark":                  "tidemark",
		"*":                         "*",
		`FIRST 2 (a, "B ""q""", c)`: `a|b "q"|c`,
		"ANY 1 (Tidemark,x)":        "tidemark|x",
		"2 (a, b)":                  "a|b",
	} {
		if got := strings.Join(standbyNames(setting), "|"); got != want {
			t.Errorf("%q gives %q, want %q", setting, got, want)
		}
	}
}

func TestPatterns(t *testing.T) {
	p := Publication{Tables: []string{"public.*", "app.order_*"}, Exclude: []string{"*.tmp*", `public.a+b`}}
	for name, want := range map[string]bool{
		"public.x": true, "public.tmp1": false, "app.orders": false, "app.order_1": true, "tidemark.ddl": false, "public.a+b": false, "public.aab": true,
	} {
		schema, table, _ := strings.Cut(name, ".")
		if got := p.wants(schema, table); got != want {
			t.Errorf("%s is chosen: %v, want %v", name, got, want)
		}
	}
	if (Publication{Tables: []string{"*.*"}}).wants("tidemark", "heartbeat") {
		t.Error("our own table is chosen by pattern")
	}
	if err := (Config{URL: "x", Publication: Publication{Tables: []string{"orders"}}}).WithDefaults().Validate(); err == nil {
		t.Error("a pattern without schema is accepted")
	}
}

func TestGate(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		url := pgtest.Database(t, major)
		cfg := configFor(t, url)
		_, err := Gate(t.Context(), cfg, Identity{}, 0)
		wantRefusal(t, err, "publication", "run tidemark init")
		report := mustInit(t, cfg)
		start, err := Gate(t.Context(), cfg, Identity{}, 0)
		if err != nil {
			t.Fatal(err)
		}
		id := start.Identity
		if start.LSN != start.Confirmed || start.LSN.IsZero() || id.Generation != report.Generation || id.ServerVersion.Major() != major || id.Timeline != 1 {
			t.Errorf("start is %+v", start)
		}
		pgtest.Exec(t, url, "create table w(i int primary key)", "insert into w values (1)", "alter role current_user set wal_sender_timeout = '1500ms'")
		if start, err = Gate(t.Context(), cfg, Identity{}, 0); err != nil || start.Patience != 1500*time.Millisecond {
			t.Errorf("patience is %v, %v", start.Patience, err)
		}
		pgtest.Exec(t, url, "alter role current_user reset wal_sender_timeout")
		var flushed, confirmed string
		q := "select pg_current_wal_flush_lsn()::text, confirmed_flush_lsn::text from pg_replication_slots where slot_name = $1"
		if err := pgtest.Connect(t, url).QueryRow(t.Context(), q, cfg.Slot).Scan(&flushed, &confirmed); err != nil {
			t.Fatal(err)
		}
		end, _ := position.ParseLSN(flushed)
		low, _ := position.ParseLSN(confirmed)
		change := func(f func(*Identity)) Identity { i := id; f(&i); return i }
		for _, c := range []struct {
			name    string
			journal Identity
			end     position.LSN
			want    string
		}{
			{"at the confirmed position", id, low, ""},
			{"at the end of WAL", id, end, ""},
			{"below the confirmed position", id, low - 1, "will not send what lies between"},
			{"beyond the end of WAL", id, end + 1<<20, "beyond the end of the source's WAL"},
			{"other cluster", change(func(i *Identity) { i.SystemID = "1" }), low, "another cluster"},
			{"other database", change(func(i *Identity) { i.Database = "x" }), low, "belongs to database"},
			{"other timeline", change(func(i *Identity) { i.Timeline = 2 }), low, "timeline 1 and the journal on 2"},
			{"other generation", change(func(i *Identity) { i.Generation -= 8 }), low, "was made again"},
		} {
			got, err := Gate(t.Context(), cfg, c.journal, c.end)
			if c.want == "" {
				if err != nil || got.LSN != c.end {
					t.Errorf("%s: start %+v, %v", c.name, got, err)
				}
				continue
			}
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: error is %v, want %q", c.name, err, c.want)
			}
		}
		pgtest.Exec(t, url, "drop publication tidemark")
		_, err = Gate(t.Context(), cfg, id, low)
		wantRefusal(t, err, "publication")
		pgtest.Exec(t, url, "create publication tidemark", "select pg_drop_replication_slot('"+cfg.Slot+"')")
		_, err = Gate(t.Context(), cfg, id, low)
		wantRefusal(t, err, "does not exist")
		mustInit(t, cfg)
		_, err = Gate(t.Context(), cfg, id, low)
		wantRefusal(t, err, "was made again")
		if err := Destroy(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		if err := Destroy(t.Context(), cfg); err != nil {
			t.Errorf("destroy again: %v", err)
		}
	})
}

func TestGateRefusesLostSlot(t *testing.T) {
	c := pgtest.Start(t, throwaway.Options{Settings: map[string]string{"max_slot_wal_keep_size": "'1MB'", "min_wal_size": "'32MB'", "max_wal_size": "'32MB'"}})
	url := c.URL("postgres")
	cfg := configFor(t, url)
	mustInit(t, cfg)
	start, err := Gate(t.Context(), cfg, Identity{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, url, "create table w(t text)")
	for range 5 {
		pgtest.Exec(t, url, "insert into w select repeat('x', 1000) from generate_series(1, 10000)", "select pg_switch_wal()", "checkpoint")
	}
	_, err = Gate(t.Context(), cfg, start.Identity, start.LSN)
	wantRefusal(t, err, "is lost", "pg_drop_replication_slot")
}

// A server in recovery may be the wrong one of several, or be promoted: nothing is refused.
func TestGateWaitsForThePrimary(t *testing.T) {
	c := pgtest.Start(t, throwaway.Options{})
	if err := c.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.DataDir, "standby.signal"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := Gate(t.Context(), configFor(t, c.URL("postgres")), Identity{SystemID: "1"}, 100)
	if err == nil || errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "in recovery") {
		t.Errorf("gate says %v", err)
	}
}

func TestHeartbeat(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		url := pgtest.Database(t, major)
		pgtest.Exec(t, url, "create table a(id serial primary key)", "create sequence fresh start 7", "create sequence used increment 5", "select nextval('used'), nextval('used')")
		cfg := configFor(t, url)
		cfg.Heartbeat = 100 * time.Millisecond
		mustInit(t, cfg)
		samples := make(chan Sample, 100)
		h := NewHeartbeat(cfg, quiet(), func(s Sample) { samples <- s })
		stop := runHeart(t, h)
		first := <-samples
		second := <-samples
		if second.Time <= first.Time || second.End < first.End {
			t.Errorf("samples %v, %v do not grow", first, second)
		}
		conn := pgtest.Connect(t, url)
		var text string
		query := "select coalesce(string_agg(format('%s.%s %s %s %s', schema_name, sequence_name, last_value, is_called, increment), ', ' order by sequence_name), '') from tidemark.sequence"
		waitFor(t, func() bool {
			if err := conn.QueryRow(t.Context(), query).Scan(&text); err != nil {
				t.Fatal(err)
			}
			return text == "public.a_id_seq 1 f 1, public.fresh 7 f 1, public.used 6 t 5"
		}, &text)
		pgtest.Exec(t, url, "select nextval('fresh')", "drop sequence used")
		waitFor(t, func() bool {
			if err := conn.QueryRow(t.Context(), query).Scan(&text); err != nil {
				t.Fatal(err)
			}
			return text == "public.a_id_seq 1 f 1, public.fresh 7 t 1"
		}, &text)
		status := h.Status()
		if !status.Connected || !status.Slot.Exists || status.Slot.Active || status.Slot.Confirmed.IsZero() || status.Offset.Abs() > time.Second {
			t.Errorf("status is %+v", status)
		}
		// A lost session is replaced.
		pgtest.Exec(t, url, "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'tidemark heartbeat' and datname = current_database()")
		for len(samples) > 0 {
			<-samples
		}
		<-samples
		stop()
	})
}

func runHeart(t *testing.T, h *Heartbeat) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("heartbeat ended with %v", err)
		}
	}
}

// waitFor polls what only a query can tell.
func waitFor(t *testing.T, ok func() bool, last *string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come to be: %s", *last)
		}
	}
}
