package apply_test

import (
	"fmt"
	"strings"
	"testing"

	"tidemark/internal/postgres/pgtest"
)

// long is a value that is TOASTed: it does not compress.
const long = "(select string_agg(md5(i::text || %s), '') from generate_series(1, 400) i)"

func longText(salt string) string { return fmt.Sprintf(long, "'"+salt+"'") }

// columns gives "name1 type, name2 type, …".
func columns(n int, typ string) string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("c%d %s", i+1, typ)
	}
	return strings.Join(out, ", ")
}

// tour holds one schema and what is done to it, per peculiarity of PostgreSQL.
var tour = []struct {
	name string
	ddl  []string
	run  []string
}{
	{
		name: "rows",
		ddl:  []string{"create table a(id int primary key, v text, n numeric(10,2))"},
		run: []string{
			"insert into a select i, 'v' || i, i / 7.0 from generate_series(1, 3000) i",
			"update a set v = v || 'x' where id % 3 = 0; delete from a where id % 5 = 0; update a set v = null where id = 7",
			"truncate a; insert into a values (1, '', 'NaN'), (2, null, null)",
		},
	},
	{
		name: "key changes",
		ddl:  []string{"create table k(id int primary key, v text)", "create table two(a int, b text, v int, primary key (b, a))"},
		run: []string{
			"insert into k values (1, 'a'), (2, 'b'), (5, 'e')",
			"update k set id = 9 where id = 1; update k set id = 1 where id = 2; update k set id = 2 where id = 9",
			"update k set id = 3 where id = 1; update k set id = 1 where id = 3; delete from k where id = 5; insert into k values (5, 'new')",
			"insert into two values (1, 'x', 1), (2, 'x', 2)",
			"update two set a = 3, v = null where a = 1; update two set b = 'Y' where a = 2; update two set v = 7",
		},
	},
	{
		name: "toast",
		ddl: []string{
			"create table t(id int primary key, big text, v int)", "alter table t alter big set storage external",
			"create table tk(key text primary key, big text, v int)", "alter table tk alter key set storage external", "alter table tk alter big set storage external",
			"create table tf(id int, big text, v int)", "alter table tf replica identity full", "alter table tf alter big set storage external",
		},
		run: []string{
			"insert into t values (1, " + longText("a") + ", 1), (2, " + longText("b") + ", 2), (3, null, 3)",
			"update t set v = 10 where id = 1; update t set id = 20 where id = 2; update t set big = 'short' where id = 1; update t set big = " + longText("c") + " where id = 3",
			"insert into tk values (substr(" + longText("k") + ", 1, 2600), " + longText("d") + ", 1)",
			"update tk set v = 2", "update tk set key = 'short'", "update tk set v = 3; delete from tk",
			"insert into tf values (1, " + longText("a") + ", 1), (1, " + longText("a") + ", 1), (2, null, 3)",
			"update tf set v = 5 where ctid = '(0,1)'; delete from tf where v = 3; delete from tf where v = 1; update tf set v = 6",
		},
	},
	{
		name: "identities",
		ddl: []string{
			"create table byindex(id int, code text not null, v int)", "create unique index byindex_code on byindex(code)", "alter table byindex replica identity using index byindex_code",
			"create table full_pk(id int primary key, v text)", "alter table full_pk replica identity full",
			"create table full_unique(a int not null, b int, v text)", "create unique index on full_unique(b)", "create unique index on full_unique(a)", "alter table full_unique replica identity full",
			"create table nothing(v text)", "alter table nothing replica identity nothing",
		},
		run: []string{
			"insert into byindex values (null, 'a', 1), (1, 'b', 2), (1, 'c', 3)", "update byindex set v = 9; update byindex set code = 'z', id = 7 where code = 'b'; delete from byindex where code = 'a'",
			"insert into full_pk values (1, 'a'), (2, null)", "update full_pk set id = id + 10; update full_pk set v = 'x' where v is null; delete from full_pk where id = 11",
			"insert into full_unique values (1, null, null), (2, 1, 'q')", "update full_unique set a = 5 where b is null; update full_unique set v = 'z' where a = 2; delete from full_unique where a = 5",
			"alter publication everything set (publish = 'insert')", "insert into nothing values ('x'), ('x'), (null)", "alter publication everything set (publish = 'insert, update, delete, truncate')",
			"truncate nothing",
		},
	},
	{
		name: "full without key",
		ddl: []string{
			"create table f(a int, j json, x xml, p point, b box, n numeric, f8 float8, i interval, c char(5), arr json[])", "alter table f replica identity full",
			"create type pair as (l int, r json)", "create table fc(p pair, v int, hole int)", "alter table fc drop hole", "alter table fc replica identity full",
			"create table inherits(v text)", "create table child() inherits (inherits)", "alter table inherits replica identity full", "alter table child replica identity full",
		},
		run: []string{
			"insert into f select 1, '{\"a\": 1}', '<a/>', '(1,2)', '(1,1),(0,0)', 1.0, 0, '1 day', 'x', array['{}'::json] from generate_series(1, 3)",
			"insert into f (a) values (null), (null), (2), (2)",
			"insert into f (a, n) values (3, 1.0), (3, 1.00), (3, 1.000)", "insert into f (a, f8) values (4, '-0'), (4, 0)", "insert into f (a, i) values (5, '24 hours'), (5, '1 day')",
			"delete from f where ctid = (select min(ctid) from f where a = 1); delete from f where ctid = (select min(ctid) from f where a is null); update f set n = 7 where ctid = (select max(ctid) from f where a = 2)",
			"delete from f where a = 3 and n::text = '1.00'; update f set a = 33 where n::text = '1.000'", "update f set a = 44 where a = 4 and f8::text = '0'", "delete from f where i::text = '1 day' and a = 5",
			"update f set j = null, x = '<b/>', p = '(3,4)' where a = 1 and ctid = (select min(ctid) from f where a = 1)",
			"insert into fc values (row(null, null), 1), (null, 1), (row(1, '{}'), 2), (row(1, '{ }'), 2)", "delete from fc where p::text = '(,)'; delete from fc where p::text = '(1,{})'; update fc set v = 3 where p is not distinct from null",
			"insert into inherits values ('same')", "insert into child values ('same')", "update only inherits set v = 'parent'; delete from child", "insert into child values ('c')", "truncate only inherits",
		},
	},
	{
		name: "truncate",
		ddl: []string{
			"create table parent(id int primary key)", "create table kid(id serial primary key, parent int references parent)",
			"create table grandkid(id int primary key, kid int references kid)", "create table alone(id int primary key)",
		},
		run: []string{
			"insert into parent values (1), (2)", "insert into kid(parent) values (1), (2)", "insert into grandkid values (1, 1)", "insert into alone values (1)",
			"truncate kid, parent, alone cascade; insert into parent values (3)", "insert into kid(parent) values (3)", "truncate grandkid, kid, parent restart identity",
			"insert into parent values (3)",
		},
	},
	{
		name: "identity and generated",
		ddl: []string{
			"create table always(id int generated always as identity primary key, v text, big text)", "alter table always alter big set storage external",
			"create table bydefault(id int generated by default as identity primary key, v text)",
			"create table other(k int primary key, n int generated always as identity, v text, big text)", "alter table other alter big set storage external",
			"create table onlyid(k int primary key, n int generated always as identity)",
			"create table fullid(n int generated always as identity, v text)", "alter table fullid replica identity full",
			"create table generated(id int primary key, a int, twice int generated always as (a * 2) stored)", "create table fullgen(a int, twice int generated always as (a * 2) stored)", "alter table fullgen replica identity full",
			"create table sole(id int generated always as identity primary key)", "create table rest(id int primary key, twice int generated always as (id * 2) stored)",
		},
		run: []string{
			"insert into always(v, big) values ('a', " + longText("a") + "), ('b', null), ('c', null)", "insert into always overriding system value values (100, 'x', null)",
			"update always set v = 'z'; update always set id = default where id = 1; update always set id = default, v = null where id = 2; delete from always where id = 3",
			"insert into bydefault(v) values ('a'), ('b')", "update bydefault set id = id + 10; update bydefault set v = null where id = 11",
			"insert into other(k, v, big) values (1, 'a', " + longText("o") + "), (2, 'b', null)", "update other set v = 'c' where k = 1; update other set n = default where k = 1; update other set n = default, k = 5, v = 'q' where k = 2; update other set k = 6 where k = 5",
			"insert into onlyid(k) values (1), (2)", "update onlyid set n = default where k = 1; update onlyid set k = 3 where k = 2; update onlyid set k = k",
			"insert into fullid(v) values ('a'), ('a'), (null)", "update fullid set n = default where n = 1; update fullid set v = 'b' where n = 2; delete from fullid where v is null",
			"insert into generated values (1, 1), (2, null)", "update generated set a = a + 1; update generated set id = 7 where a is null; delete from generated where id = 1",
			"insert into fullgen values (1), (1), (null)", "update fullgen set a = 5 where ctid = '(0,1)'; delete from fullgen where a = 1",
			"insert into sole default values", "update sole set id = default", "delete from sole", "insert into rest values (1), (2)", "update rest set id = 9 where id = 1", "update rest set id = id",
		},
	},
	{
		name: "deferrable constraints",
		ddl: []string{
			"create table d(id int primary key, pos int unique deferrable initially deferred, v text)", "create table di(id int primary key, a int, b int, unique (a, b) deferrable)",
			"create table e(id int primary key, during int4range, exclude using gist (during with &&) deferrable initially deferred)",
			"create table later(id int primary key, up int references later deferrable initially deferred)",
		},
		run: []string{
			"insert into d values (1, 1, 'a'), (2, 2, 'b'), (3, null, null), (4, null, null)", "update d set pos = 2 where id = 1; update d set pos = 1 where id = 2", "update d set pos = 3 - pos",
			"insert into di values (1, 1, 1), (2, 1, 2), (3, null, 1)", "update di set b = 3 - b", "delete from di where id = 1; update di set b = 2 where a = 1",
			"insert into e values (1, '[1,5)'), (2, '[5,9)')", "update e set during = '[5,9)' where id = 1; update e set during = '[1,5)' where id = 2", "update e set during = int4range(lower(during) + 4, upper(during) + 4)",
			"insert into later values (1, 2), (2, 1)",
		},
	},
	{
		name: "types",
		ddl: []string{
			"create type mood as enum ('sad', 'ok', 'so \"so\"')", "create domain positive as int check (value > 0)", "create domain small as positive check (value < 100)", "create type addr as (street text, no positive, moods mood[])",
			`create table ty(id int primary key, m mood, d small, a addr, aa addr[], ma mood[], ia int[], ta text[], r int4range, tr tstzrange, n numeric, ns numeric(12,4),
				f4 float4, f8 float8, ts timestamp, tz timestamptz, dt date, tm time, tmz timetz, iv interval, jb jsonb, j json, by bytea, bt bit(5), vb varbit, u uuid,
				ip inet, ci cidr, mac macaddr, ch char(7), vc varchar(9), "c" "char", na name, b bool, i2 int2, i8 int8, mo money, pt point, pl polygon, ts_v tsvector, tq tsquery, lsn pg_lsn, x xml, mr int4multirange, ti tid, x8 xid8)`,
			"create table ek(m mood, d small, dt date, primary key (m, d, dt))",
		},
		run: []string{
			`insert into ty values (1, 'so "so"', 42, row('Main "St", 1', 7, '{ok,sad}'), array[row(null, null, null)::addr, row('', 1, '{}')::addr], '{sad,NULL}', '[0:1]={1,2}', array['NULL', null, '', 'a,b', '"q"', '{x}'],
				'[1,5)', '[2020-01-01 00:00+02,infinity)', 'NaN', 1.5, '-0', 'NaN', '0044-03-15 12:00 BC', '294276-12-31 23:59:59.999999+00', '5874897-12-31', '24:00', '12:00+05:45', '1 year -2 mons 3 days -04:05:06.7', '{"b": 1.10, "a": [null, "ü"]}', '{"b" : 1.10}', '\xdeadbeef00', b'10101', b'1', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
				'10.1.2.3/8', '10.0.0.0/8', '08:00:2b:01:02:03', 'ab', 'ünï', 'x', 'n', true, -32768, 9223372036854775807, '12.34', '(1e-300,2)', '((0,0),(1,1),(1,0))', 'a:1 fat:2A', 'fat & rat', '16/B374D848', '<a b="c">&amp;</a>', '{[1,3),[5,7)}', '(42,7)', '18446744073709551615')`,
			"insert into ty (id, n, f4, f8, ts, tz, dt, by, r) values (2, 'Infinity', 'Infinity', 1e-320, 'infinity', '-infinity', '4713-01-01 BC', '', 'empty'), (3, 1e-1000, 3.4028235e38, 0.1, '1999-12-31 23:59:60', '0001-01-01 00:00:00.000001+00', 'infinity', null, null)",
			"insert into ty (id) values (4)", "update ty set n = n, jb = '[]', ia = array[[1,2],[3,4]] where id = 1; update ty set vc = e'tab\\t''\\\\\\n', ta = '{}' where id > 1; delete from ty where id = 4",
			"insert into ek values ('ok', 1, '0001-01-01 BC'), ('sad', 99, '-infinity')", "update ek set m = 'so \"so\"' where d = 1; update ek set dt = 'infinity' where d = 99; delete from ek where d = 1",
		},
	},
	{
		name: "partitions and inheritance",
		ddl: []string{
			"create table part(id int, region text, v text, primary key (id, region)) partition by list (region)", "create table part_a partition of part for values in ('a')",
			"create table part_b partition of part for values in ('b') partition by range (id)", "create table part_b1 partition of part_b for values from (0) to (100)", "create table part_b2 (v text, region text not null, id int not null)",
			"alter table part_b attach partition part_b2 for values from (100) to (200)",
		},
		run: []string{
			"insert into part values (1, 'a', 'x'), (2, 'b', 'y'), (150, 'b', 'z')", "update part set region = 'b' where id = 1; update part set id = 160 where id = 2; update part set v = 'q'; delete from part where id = 150", "truncate part_b1", "truncate part; insert into part values (3, 'a', null)",
		},
	},
	{
		name: "foreign keys and triggers",
		ddl: []string{
			"create table p(id int primary key)", "create table c(id int primary key, p int references p on delete cascade on update cascade)", "create table n(id int primary key, p int default 1 references p on delete set null)",
			"create table log(id int generated always as identity primary key, what text)", "create function note() returns trigger language plpgsql as $$ begin insert into public.log(what) values (tg_op); return new; end $$",
			"create trigger note after insert or update on p for each row execute function note()", "create table r(id int primary key)", "create rule skip as on insert to r where new.id > 100 do instead nothing",
		},
		run: []string{
			"insert into p values (1), (2), (3)", "insert into c values (1, 1), (2, 1), (3, 2)", "insert into n values (1, 1), (2, 2)",
			"update p set id = 10 where id = 1 and false; update p set id = 30 where id = 3", "delete from p where id = 2", "insert into r values (1), (101)", "delete from n; delete from p where id = 1",
		},
	},
	{
		name: "names",
		ddl: []string{
			`create schema "we.ird ""s"""`, `create table "we.ird ""s"""."T.a'b""le \ ü;"("K""ey" int primary key, "select" text, " " int, "ünï'c" int generated always as identity, "$1" text)`,
			`create type "we.ird ""s"""."Mo.od" as enum ('X')`, `create table "Mixed"("Id" "we.ird ""s"""."Mo.od", "user" text)`, `alter table "Mixed" replica identity full`,
		},
		run: []string{
			`insert into "we.ird ""s"""."T.a'b""le \ ü;" values (1, '$1', 2, default, 'x'), (2, null, null, default, '')`, `update "we.ird ""s"""."T.a'b""le \ ü;" set "K""ey" = 5, "$1" = '''' where "K""ey" = 1; update "we.ird ""s"""."T.a'b""le \ ü;" set " " = 9`,
			`insert into "Mixed" values ('X', 'u'), ('X', 'u'), (null, 'u')`, `delete from "Mixed" where ctid = '(0,1)'`, `truncate "Mixed", "we.ird ""s"""."T.a'b""le \ ü;"`,
		},
	},
	{
		name: "columns none and many",
		ddl: []string{
			"create table none()", "alter table none replica identity full", "create table gone(a int, b int)", "alter table gone drop a, drop b", "alter table gone replica identity full",
			"create table many(id int primary key, " + columns(200, "text") + ")", "create table widest(" + columns(1600, "bool") + ")", "alter table widest replica identity full",
		},
		run: []string{
			"insert into none default values", "insert into none default values", "delete from none where ctid = '(0,1)'", "insert into gone default values",
			"insert into many(id, c1, c200) select i, 'a', 'b' from generate_series(1, 20) i", "update many set c100 = 'x', c200 = null where id % 2 = 0; delete from many where id % 3 = 0",
			"insert into widest(c1, c1600) values (true, false), (true, false)", "update widest set c800 = true where ctid = '(0,1)'", "delete from widest where c800 is null",
		},
	},
	{
		name: "collations",
		ddl: []string{
			"create table co(v text, n int)", "alter table co replica identity full",
		},
		run: []string{"insert into co values ('a', 1), ('A', 1), ('ä', null)", "delete from co where v = 'A'; update co set v = 'Ä' where n is null"},
	},
}

func TestTour(t *testing.T) {
	majors := pgtest.Majors(t)
	pgtest.Each(t, func(t *testing.T, major int) {
		for _, c := range tour {
			if major == majors[0] { // each way once is enough
				t.Run(c.name, func(t *testing.T) {
					r := newRig(t, major, c.ddl...)
					for _, statement := range c.run {
						r.run(t, statement)
					}
				})
			}
			if major != majors[len(majors)-1] {
				continue
			}
			t.Run(c.name+" at once", func(t *testing.T) {
				r := newRig(t, major, c.ddl...)
				r.source.Parts = 3
				r.run(t, c.run...)
			})
		}
	})
}
