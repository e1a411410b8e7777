package postgres_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidemark/internal/postgres"
	"tidemark/internal/postgres/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

const awkward = `
create schema "My ""Schema";
create type public.mood as enum ('sad;', 'it''s');
create domain public.positive as int check (value > 0);
create table "My ""Schema"."a.b" (id int generated always as identity primary key, m public.mood, twice int generated always as (n * 2) stored, n public.positive);
create table public.parent (id int primary key, note text default E'a\\;b' || ';');
create table public.child (id int references public.parent, t tstzrange);
create table public.p (k int, v text) partition by range (k);
create table public.p1 partition of public.p for values from (0) to (10);
create function public.two() returns int language sql begin atomic select case when true then 1 end; select 2; end;
create function public.quoted() returns trigger language plpgsql as $body$ begin
/*
\restrict x
*/
raise notice '; $$'; return new; end $body$;
create rule r as on delete to public.child do also (update public.parent set note = ';'; delete from public.parent where false);
create trigger tr before insert on public.parent for each row execute function public.quoted();
create view public.v as select id, note from public.parent;
create materialized view public.mv as select count(*) from public.parent;
create index i on public.child using gist (t);
create schema tidemark;
create table tidemark.own (i int);
create function tidemark.ddl() returns event_trigger language plpgsql as 'begin end';
create event trigger tidemark_ddl on ddl_command_end execute function tidemark.ddl();
alter event trigger tidemark_ddl enable always;
create publication pub for table public.parent;
comment on schema public is 'theirs';
alter schema public owner to postgres;
grant usage on schema public to public;
`

// TestDumpAndExecute moves an awkward schema from each server to each server, and dumps the copy again: equal dumps.
func TestDumpAndExecute(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, from int) {
		source := pgtest.Database(t, from)
		pgtest.Exec(t, source, awkward)
		pre, post := dump(t, source, from, postgres.PreData), dump(t, source, from, postgres.PostData)
		for _, word := range []string{"tidemark", "PUBLICATION", "OWNER TO", "GRANT"} {
			if strings.Contains(statements(pre)+statements(post), word) {
				t.Errorf("dump contains %s", word)
			}
		}
		pgtest.Each(t, func(t *testing.T, to int) {
			target := pgtest.Database(t, to)
			conn, err := postgres.Connect(t.Context(), target, "test")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(t.Context())
			for _, script := range [][]byte{pre, post} {
				if err := postgres.ExecScript(t.Context(), conn, script); err != nil {
					t.Fatal(err)
				}
			}
			var path, bodies string
			if err := conn.QueryRow(t.Context(), "select current_setting('search_path'), current_setting('check_function_bodies')").Scan(&path, &bodies); err != nil || path != `""` && path != "" || bodies != "on" {
				t.Errorf("session has search_path %q, check_function_bodies %s, %v", path, bodies, err)
			}
			if from == to {
				got := dump(t, target, to, postgres.PreData)
				if diff := cmp.Diff(statements(pre), statements(got)); diff != "" {
					t.Errorf("dump of the copy differs (-want +got):\n%s", diff)
				}
			}
		})
	})
}

// statements leaves out what changes from dump to dump.
func statements(dump []byte) string {
	var out []string
	for line := range strings.SplitSeq(string(dump), "\n") {
		if !strings.HasPrefix(line, `\restrict`) && !strings.HasPrefix(line, `\unrestrict`) && !strings.HasPrefix(line, "--") && strings.TrimSpace(line) != "" {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}

func dump(t *testing.T, url string, major int, section postgres.Section) []byte {
	t.Helper()
	out, err := postgres.DumpSchema(t.Context(), url, postgres.DumpOptions{Section: section, ServerMajor: major})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDumpReadsSnapshot(t *testing.T) {
	url := pgtest.Database(t, 0)
	pgtest.Exec(t, url, "create table before (i int)")
	conn := pgtest.Connect(t, url)
	var name string
	if _, err := conn.Exec(t.Context(), "begin isolation level repeatable read"); err != nil {
		t.Fatal(err)
	}
	if err := conn.QueryRow(t.Context(), "select pg_export_snapshot()").Scan(&name); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, url, "create table after (i int)")
	out, err := postgres.DumpSchema(t.Context(), url, postgres.DumpOptions{Section: postgres.PreData, Snapshot: name, ServerMajor: pgtest.Shared(t, 0).Major})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), "CREATE TABLE public.before") || strings.Contains(string(out), "public.after") {
		t.Errorf("not the snapshot's schema:\n%s", out)
	}
}

func TestDumpRefusals(t *testing.T) {
	url := pgtest.Database(t, 0)
	major := pgtest.Shared(t, 0).Major
	wrong := pgtest.Shared(t, 0).URLFor("nobody", "a-secret", "postgres")
	_, err := postgres.DumpSchema(t.Context(), wrong, postgres.DumpOptions{Section: postgres.PreData, ServerMajor: major})
	if err == nil || strings.Contains(err.Error(), "a-secret") || strings.Contains(err.Error(), "\n") {
		t.Errorf("wrong password: %v", err)
	}
	_, err = postgres.DumpSchema(t.Context(), url, postgres.DumpOptions{Section: postgres.PreData, ServerMajor: 99})
	if !errors.Is(err, postgres.ErrNoDump) || !strings.Contains(err.Error(), "postgresql-client-99") {
		t.Errorf("server 99: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = postgres.DumpSchema(ctx, url, postgres.DumpOptions{Section: postgres.PreData, ServerMajor: major}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestFindDump prefers the server's own version and takes the lowest one above otherwise.
func TestFindDump(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("TIDEMARK_CACHE", cache)
	for _, major := range []string{"96", "98", "97"} {
		dir := filepath.Join(cache, "postgres", major, "bin")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		script := "#!/bin/sh\necho 'pg_dump (PostgreSQL) " + major + ".3 (Debian)'\n"
		if err := os.WriteFile(filepath.Join(dir, "pg_dump"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for want, server := range map[string]int{"96": 95, "97": 97, "98": 98} {
		got, err := postgres.FindDump(t.Context(), server)
		if err != nil || got != filepath.Join(cache, "postgres", want, "bin", "pg_dump") {
			t.Errorf("server %d: %s, %v", server, got, err)
		}
	}
}

// TestScriptError names line and statement, and no value.
func TestScriptError(t *testing.T) {
	conn, err := postgres.Connect(t.Context(), pgtest.Database(t, 0), "test")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for script, want := range map[string]string{
		"\\restrict x\nselect 1;\ncreate table public.a (i int);\n\ninsert into public.a values ('secret');\n": "line 5 of the script (insert into public.a values ()",
		"select 1;\nselect\n 1 +;":                                                  "line 2",
		"select 1;\nselect * from nowhere;":                                         "SQLSTATE 42P01",
		"create table public.b (i int);\nselect i/0 from generate_series(-2, 2) i;": "SQLSTATE 22012",
	} {
		err := postgres.ExecScript(t.Context(), conn, []byte(script))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v, want %q", script, err, want)
		}
	}
}

func TestScriptKeepsPublic(t *testing.T) {
	conn, err := postgres.Connect(t.Context(), pgtest.Database(t, 0), "test")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	script := "SET transaction_timeout = 0;\nSET no_such_setting = 1;\nCREATE SCHEMA public;\nCREATE EXTENSION IF NOT EXISTS plpgsql WITH SCHEMA pg_catalog;\n"
	if err := postgres.ExecScript(t.Context(), conn, []byte(script)); err != nil {
		t.Fatal(err)
	}
}
