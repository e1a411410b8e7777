package integration

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/internal/postgres/pgtest"
	"tidemark/internal/postgres/throwaway"
)

// refused checks that a command ended in one clear line, with the right code and without a secret.
func refused(t *testing.T, r result, code int, words ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d", r.code, code)
	}
	if strings.Count(r.stderr, "\n") != 1 || !strings.HasPrefix(r.stderr, "tidemark") {
		t.Errorf("not one line on stderr:\n%s", r.stderr)
	}
	for _, word := range words {
		if !strings.Contains(strings.ToLower(r.stderr), strings.ToLower(word)) {
			t.Errorf("stderr does not say %q: %s", word, r.stderr)
		}
	}
	if strings.Contains(r.stderr+r.stdout, "wr0ng-secret") {
		t.Errorf("a secret is shown: %s%s", r.stdout, r.stderr)
	}
	t.Log(strings.TrimSpace(r.stderr))
}

// fresh is a source database with one good table, and settings for it.
func fresh(t *testing.T) settings {
	t.Helper()
	source := pgtest.Database(t, 0)
	conn := connect(t, source)
	sql(t, conn, "create table public.good (id int primary key)")
	return settings{source: source, slot: "slot_" + query[string](t, conn, "select current_database()::text"), publication: "tidemark",
		extra: "log: {level: error}\n"}
}

func TestRefusesSource(t *testing.T) {
	cluster := pgtest.Shared(t, 0)
	for name, test := range map[string]struct {
		url   string
		words []string
	}{
		"unreachable":    {fmt.Sprintf("postgres://postgres:wr0ng-secret@127.0.0.1:%d/app?sslmode=disable", freePort(t)), []string{"source", "refused"}},
		"wrong password": {cluster.URLFor("postgres", "wr0ng-secret", "postgres"), []string{"password"}},
		"no database":    {cluster.URL("nowhere"), []string{"nowhere", "not exist"}},
		"no URL":         {"", []string{"source.url"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := fresh(t)
			s.source = test.url
			v := newService(t, s)
			code := 1
			if test.url == "" {
				code = 2
			}
			for _, command := range []string{"init", "run"} {
				refused(t, v.try(t, v.with(command)...), code, test.words...)
			}
		})
	}
}

func TestRefusesWALLevel(t *testing.T) {
	c := pgtest.Start(t, throwaway.Options{Settings: map[string]string{"wal_level": "replica"}})
	v := newService(t, settings{source: c.URL("postgres"), slot: "tidemark", publication: "tidemark", extra: "log: {level: error}\n"})
	refused(t, v.try(t, v.with("init")...), 1, "wal_level", "logical")
}

func TestRefusesSlot(t *testing.T) {
	t.Run("nothing prepared", func(t *testing.T) {
		v := newService(t, fresh(t))
		refused(t, v.try(t, v.with("run")...), 1, "tidemark init")
	})
	t.Run("missing", func(t *testing.T) {
		s := fresh(t)
		v := newService(t, s)
		v.must(t, v.with("init")...)
		sql(t, connect(t, s.source), "select pg_drop_replication_slot('"+s.slot+"')")
		refused(t, v.try(t, v.with("run")...), 1, "slot", s.slot, "tidemark init")
	})
	t.Run("missing publication", func(t *testing.T) {
		s := fresh(t)
		v := newService(t, s)
		v.must(t, v.with("init")...)
		sql(t, connect(t, s.source), "drop publication tidemark")
		refused(t, v.try(t, v.with("run")...), 1, "publication", "tidemark")
	})
	t.Run("of another database", func(t *testing.T) {
		s, other := fresh(t), fresh(t)
		o := newService(t, other)
		o.must(t, o.with("init")...)
		s.slot = other.slot
		refused(t, newService(t, s).withConfig(t, "init"), 1, "slot", other.slot)
	})
	t.Run("made again", func(t *testing.T) {
		s := fresh(t)
		v := newService(t, s)
		v.must(t, v.with("init")...)
		v.work(t, s)
		conn := connect(t, s.source)
		eventually(t, 20*time.Second, "the slot is free", func() bool {
			return query[int](t, conn, "select count(*) from pg_replication_slots where slot_name = $1 and not active", s.slot) == 1
		})
		sql(t, conn, "select pg_drop_replication_slot('"+s.slot+"')", "insert into public.good values (77)")
		v.must(t, v.with("init")...)
		refused(t, v.try(t, v.with("run")...), 1, "slot", "journal")
	})
}

// withConfig is try with the configuration added.
func (v *service) withConfig(t *testing.T, command string) result {
	return v.try(t, v.with(command)...)
}

// work runs the service until its journal holds something, and stops it.
func (v *service) work(t *testing.T, s settings) {
	t.Helper()
	v.run(t)
	at := snapshotAt(t, s.source, pgtest.Shared(t, 0).Major)
	_ = at.conn.Close(t.Context())
	v.waitReached(t, at.lsn, time.Minute, "journal")
	v.stop(t)
}

// TestRefusesJournal: a journal of another cluster, or none that can be written, stops the start and stays as it is.
func TestRefusesJournal(t *testing.T) {
	t.Run("of another cluster", func(t *testing.T) {
		s := fresh(t)
		v := newService(t, s)
		v.must(t, v.with("init")...)
		v.work(t, s)
		before := listing(t, filepath.Join(v.dir, "journal"))
		other := pgtest.Start(t, throwaway.Options{})
		url := other.URL("postgres")
		sql(t, connect(t, url), "create table public.good (id int primary key)")
		v.env = append(v.env, "TIDEMARK_SOURCE_URL="+url)
		v.must(t, v.with("init")...)
		refused(t, v.try(t, v.with("run")...), 1, "journal", "another")
		if after := listing(t, filepath.Join(v.dir, "journal")); after != before {
			t.Errorf("the journal was touched:\n%s\nwas\n%s", after, before)
		}
	})
	t.Run("unwritable", func(t *testing.T) {
		s := fresh(t)
		v := newService(t, s)
		v.must(t, v.with("init")...)
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		v.env = append(v.env, "TIDEMARK_JOURNAL_DIR="+filepath.Join(file, "journal"))
		refused(t, v.try(t, v.with("run")...), 1, "journal", file)
	})
	t.Run("none to verify", func(t *testing.T) {
		refused(t, newService(t, fresh(t)).try(t, "journal", "verify", "--dir", filepath.Join(t.TempDir(), "nowhere")), 1, "journal", "nowhere")
	})
}

func listing(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %d %v\n", e.Name(), info.Size(), info.ModTime())
	}
	return b.String()
}

// TestRefusesTableWithoutIdentity: UPDATE and DELETE of such a table would fail for the application once it is published.
func TestRefusesTableWithoutIdentity(t *testing.T) {
	s := fresh(t)
	sql(t, connect(t, s.source), `create table public.nokey (i int)`)
	v := newService(t, s)
	refused(t, v.try(t, v.with("init")...), 1, "public.nokey", "replica identity")
	if n := query[int](t, connect(t, s.source), "select count(*) from pg_replication_slots where slot_name = $1", s.slot); n != 0 {
		t.Error("refused, and a slot is made all the same")
	}
}

func TestRefusesConfiguration(t *testing.T) {
	for name, test := range map[string]struct {
		extra string
		words []string
	}{
		"unknown key":     {"rpo:\n  teirs: {}\n", []string{"teirs", "line "}},
		"unknown section": {"snks: {}\n", []string{"snks", "line "}},
		"bad value":       {"rpo: {tiers: {1: {target: soon}}}\n", []string{"soon"}},
		"no YAML":         {"{{{\n", []string{"line "}},
		"unset variable":  {"log: {level: \"${TIDEMARK_TEST_NOWHERE}\"}\n", []string{"TIDEMARK_TEST_NOWHERE"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := fresh(t)
			s.extra = test.extra
			v := newService(t, s)
			for _, command := range []string{"run", "init"} {
				refused(t, v.try(t, v.with(command)...), 2, test.words...)
			}
		})
	}
	v := newService(t, fresh(t))
	for _, args := range [][]string{
		{"run", "-c", filepath.Join(v.dir, "nowhere.yaml")}, {"nonsense"}, {"run", "--nonsense"}, {"restore"}, {"restore", "--latest"},
		{"restore", "--archive", "file:///x", "--target", "postgres://x", "--to", "yesterday"}, {"restore", "--archive", "file:///x", "--target", "postgres://x", "--to-lsn", "1"},
		{"restore", "--archive", "file:///x", "--target", "postgres://x"}, {"restore", "--archive", "gopher://x", "--target", "postgres://x", "--latest"},
		{"destroy", "-c", v.config}, {"snapshot", "standby", "-c", v.config},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) { refused(t, v.try(t, args...), 2) })
	}
}

// TestRefusesBucket: a base needs its bucket.
func TestRefusesBucket(t *testing.T) {
	store := startS3(t)
	for name, test := range map[string]struct {
		archive string
		env     []string
		words   []string
	}{
		"no bucket":   {store.url("nowhere"), store.env(), []string{"nowhere"}},
		"wrong key":   {store.url("archive"), []string{"AWS_ACCESS_KEY_ID=" + store.access, "AWS_SECRET_ACCESS_KEY=wr0ng-secret"}, []string{"archive"}},
		"unreachable": {"s3://archive/p?region=us-east-1&endpoint=" + url.QueryEscape(fmt.Sprintf("http://127.0.0.1:%d", freePort(t))), store.env(), nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := fresh(t)
			s.archive, s.env = test.archive, test.env
			v := newService(t, s)
			v.must(t, v.with("init")...)
			refused(t, v.try(t, v.with("snapshot", "archive")...), 1, test.words...)
			target := pgtest.Database(t, 0)
			refused(t, v.try(t, "restore", "--archive", test.archive, "--target", target, "--latest"), 1, test.words...)
		})
	}
}

// TestBucketRefusesService: an archive that refuses stops nothing but itself.
func TestBucketRefusesService(t *testing.T) {
	store := startS3(t)
	s := fresh(t)
	s.archive, s.env, s.standby = store.url("nowhere"), store.env(), pgtest.Database(t, 0)
	v := newService(t, s)
	v.must(t, v.with("init")...)
	v.must(t, v.with("snapshot", "standby")...)
	v.run(t)
	sql(t, connect(t, s.source), "insert into public.good values (1)")
	at := snapshotAt(t, s.source, pgtest.Shared(t, 0).Major)
	_ = at.conn.Close(t.Context())
	v.waitReached(t, at.lsn, time.Minute, "journal", "standby")
	eventually(t, time.Minute, "status names the archive's trouble", func() bool {
		state, ok := v.status(t)
		if !ok || state.Ready {
			return false
		}
		for _, c := range state.Copies {
			if c.Name == "archive" {
				return strings.Contains(c.Reason, "nowhere")
			}
		}
		return false
	})
	v.stop(t)
}

// TestRefusesRestore: a moment that the archive does not cover, and a target that is not empty.
func TestRefusesRestore(t *testing.T) {
	s := fresh(t)
	dir := filepath.Join(t.TempDir(), "archive")
	s.archive = "file://" + dir
	v := newService(t, s)
	v.must(t, v.with("init")...)
	target := pgtest.Database(t, 0)
	restore := func(args ...string) result {
		return v.try(t, append([]string{"restore", "--archive", s.archive, "--target", target}, args...)...)
	}
	t.Run("no archive", func(t *testing.T) { refused(t, restore("--latest"), 1, "archive") })
	v.run(t)
	before := query[time.Time](t, connect(t, s.source), "select clock_timestamp()")
	v.must(t, v.with("snapshot", "archive")...)
	sql(t, connect(t, s.source), "insert into public.good values (1)")
	at := snapshotAt(t, s.source, pgtest.Shared(t, 0).Major)
	_ = at.conn.Close(t.Context())
	v.waitReached(t, at.lsn, time.Minute, "archive")
	v.stop(t)
	t.Run("before the base", func(t *testing.T) { refused(t, restore("--to", before.Format(time.RFC3339Nano)), 1, "base") })
	t.Run("in the future", func(t *testing.T) { refused(t, restore("--to", "2126-01-01T00:00:00Z"), 1, "archive") })
	t.Run("LSN before the base", func(t *testing.T) { refused(t, restore("--to-lsn", "0/1"), 1, "base") })
	t.Run("LSN in the future", func(t *testing.T) { refused(t, restore("--to-lsn", "FFFF/0"), 1, "archive") })
	t.Run("nothing was made", func(t *testing.T) {
		if n := len(tables(t, connect(t, target))); n != 0 {
			t.Errorf("a refused restore left %d tables", n)
		}
	})
	sql(t, connect(t, target), "create table public.precious (i int primary key)")
	t.Run("target not empty", func(t *testing.T) { refused(t, restore("--latest"), 1, "precious", "--force") })
	t.Run("forced", func(t *testing.T) {
		if r := restore("--latest", "--force"); r.code != 0 {
			t.Fatalf("exit code %d: %s", r.code, r.stderr)
		}
		if n := query[int](t, connect(t, target), "select count(*) from public.good"); n != 1 {
			t.Errorf("restored %d rows", n)
		}
	})
}
