package snapshot

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"tidemark/internal/postgres"
	"tidemark/internal/postgres/pgtest"
)

func TestMain(m *testing.M) {
	code := pgtest.Main(m)
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// awkward holds a table of each shape that a copy can get wrong, and sequences of each kind.
const awkward = `
create schema "Ünï.cödé";
create type mood as enum ('sad', 'it''s', 'tab	bed');
create domain positive as int check (value > 0);
create type pair as (a int, b text);
create table plain (id bigint primary key, note text, n numeric, d double precision, at timestamptz, j jsonb, l text[], b bytea, m mood, p positive, c pair, r tstzrange);
insert into plain select i, repeat(E'line\nbreak\ttab\\back\\.\r' || i, i % 5), i / 7.0, i / 3.0, now(), jsonb_build_object('k', E'\n' || i), array['a', null, E'"\\{'],
  decode(md5(i::text), 'hex'), 'it''s', i, row(i, E'x,"\n'::text)::pair, tstzrange(now(), null) from generate_series(1, 2000) i;
insert into plain (id) values (-1);
insert into plain (id, note, d, n, at) values (-2, E'\\.', 'NaN', 'NaN', '0044-03-15 12:00 BC'), (-3, '\N', '-Infinity', 1e-30, 'infinity'), (-4, '', '-0', 0.00, '-infinity');
create table "Ünï.cödé"."a"".b c/../d" ("sel;ect" int primary key, "ü" text);
insert into "Ünï.cödé"."a"".b c/../d" select i, 'ö' || i from generate_series(1, 50) i;
create table part (k int, v text, primary key (k)) partition by range (k);
create table part_low partition of part for values from (minvalue) to (100);
create table part_high partition of part for values from (100) to (maxvalue) partition by hash (k);
create table part_high_0 partition of part_high for values with (modulus 2, remainder 0);
create table part_high_1 partition of part_high for values with (modulus 2, remainder 1);
insert into part select i, 'v' || i from generate_series(1, 300) i;
create table ident (id int generated always as identity (start 5 increment 3) primary key, v text);
insert into ident (v) select 'v' || i from generate_series(1, 20) i;
create table gen (a int primary key, twice int generated always as (a * 2) stored, b text, dropped int);
alter table gen drop column dropped;
insert into gen (a, b) select i, 'b' || i from generate_series(1, 20) i;
create table only_gen (one int generated always as (1) stored);
alter table only_gen replica identity full;
insert into only_gen select from generate_series(1, 4);
create table nocols ();
insert into nocols select from generate_series(1, 7);
create table nothing (id int primary key);
create table "full" (v text, w int);
alter table "full" replica identity full;
insert into "full" select 'same', 1 from generate_series(1, 10);
create table child (id int primary key, parent int references ident deferrable);
insert into child select i, 5 from generate_series(1, 10) i;
create function touch() returns trigger language plpgsql as 'begin new.v := ''touched''; return new; end';
create trigger touch before insert on ident for each row execute function touch();
create materialized view mv as select count(*) from plain;
create view seen as select * from child;
create unlogged table unlogged (id int primary key);
create sequence up; select setval('up', 1000);
create sequence down increment -10 minvalue -100000 maxvalue -1; select setval('down', -500);
create sequence fresh start 42;
create sequence small as smallint maxvalue 110; select setval('small', 100);
create sequence big; select setval('big', 9223372036854775807);
create schema tidemark;
create table tidemark.own (i int primary key);
insert into tidemark.own values (1);
create publication tidemark for all tables;
`

// source makes a database with awkward tables and a main slot.
func source(t *testing.T, major int) string {
	t.Helper()
	url := pgtest.Database(t, major)
	pgtest.Exec(t, url, awkward)
	return url
}

// slot makes the main slot; names are the cluster's, so each database has its own.
func slot(t *testing.T, url, plugin string) string {
	t.Helper()
	conn := pgtest.Connect(t, url)
	var name string
	err := conn.QueryRow(t.Context(), "select slot_name from pg_create_logical_replication_slot($1 || '_' || current_database()::text, $1)", plugin).Scan(&name)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// query runs a query of one value.
func query[T any](t *testing.T, conn *pgx.Conn, sql string, args ...any) T {
	t.Helper()
	var v T
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

func session(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := postgres.Connect(t.Context(), url, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// digests gives rows and an order-independent sum of row digests for every ordinary table but Tidemark's own, generated
// columns included.
func digests(t *testing.T, conn *pgx.Conn) map[string]string {
	t.Helper()
	rows, err := conn.Query(t.Context(), `select n.nspname, c.relname, array(select quote_ident(attname) from pg_attribute where attrelid = c.oid and attnum > 0 and not attisdropped order by attname)
from pg_class c join pg_namespace n on n.oid = c.relnamespace where relkind = 'r' and nspname !~ '^pg_' and nspname not in ('information_schema', 'tidemark')`)
	if err != nil {
		t.Fatal(err)
	}
	queries := map[string]string{}
	var schema, name string
	var columns []string
	_, err = pgx.ForEachRow(rows, []any{&schema, &name, &columns}, func() error {
		queries[schema+"."+name] = fmt.Sprintf("select count(*) || ' ' || coalesce(sum(hashtextextended(row(%s)::text, 0)), 0) from only %s",
			strings.Join(columns, ", "), postgres.Ident(schema, name))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for name, sql := range queries {
		out[name] = query[string](t, conn, sql)
	}
	return out
}

// hooks is a Progress that calls back.
type hooks struct {
	plan   func()
	copied func(t Table, rows, bytes int64)
	done   func(t Table)
}

func (h hooks) Plan([]Table) {
	if h.plan != nil {
		h.plan()
	}
}

func (h hooks) Copied(t Table, rows, bytes int64) {
	if h.copied != nil {
		h.copied(t, rows, bytes)
	}
}

func (h hooks) Done(t Table) {
	if h.done != nil {
		h.done(t)
	}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
