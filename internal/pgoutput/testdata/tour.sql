-- A tour of what a row message can hold. Statements between two empty lines are one transaction.

create type mood as enum ('sad', 'ok', 'it''s "great"'); create domain year as int check (value > 0);
create domain moods as mood[]; create type pair as (a int, "b c" text);
create type floatrange as range (subtype = float8); create schema "Sch.éma"; create type "Sch.éma"."Ty.pe" as enum ('x')

create table plain (id int primary key, v text, n numeric); insert into plain values (1, 'one', 1.10), (2, null, null), (3, '', 'NaN')

update plain set v = 'uno' where id = 1; update plain set id = 20 where id = 2; delete from plain where id = 3

insert into plain select i, repeat('row ', i % 5), i / 7.0 from generate_series(100, 120) i

copy (select 1) to '/dev/null'; update plain set id = id + 1000, n = null where id between 105 and 108; delete from plain where id > 1105

create table composed (payload text, b int, c text, a uuid, primary key (a, b));
insert into composed values ('p', 1, 'c', '00000000-0000-0000-0000-000000000001'), (null, 2, null, '00000000-0000-0000-0000-000000000001')

update composed set payload = 'q'; update composed set b = 3, c = 'moved' where b = 2; delete from composed where b = 1

create table indexed (id int, code text not null, note text, extra int); create unique index indexed_code on indexed (code) include (extra);
alter table indexed replica identity using index indexed_code; insert into indexed values (1, 'a', null, 1), (null, 'b', 'n', null)

update indexed set note = 'x'; update indexed set code = 'bb' where code = 'b'; delete from indexed where code = 'a'

create table whole (a int, b text, c jsonb); alter table whole replica identity full; alter table whole alter b set storage external;
insert into whole values (1, repeat('long ', 700), '{"k": [1, null, "v"]}'), (null, null, null), (3, '', 'null'), (3, '', 'null')

update whole set a = 10 where a = 1; update whole set c = '[]' where a is null; update whole set b = 'short' where a = 10; delete from whole where a is null

create table nothing (a int, b text); alter table nothing replica identity nothing; insert into nothing values (1, 'x'), (null, null)

create table noidentity (a int); insert into noidentity values (1)

create table nocolumns (); insert into nocolumns default values; insert into nocolumns default values

create table nocolumnsfull (); alter table nocolumnsfull replica identity full; insert into nocolumnsfull default values; delete from nocolumnsfull

create table toast (id int primary key, ext text, big text, small text);
alter table toast alter ext set storage external;
insert into toast select 1, repeat('external ', 400), string_agg(md5(i::text), ''), 's' from generate_series(1, 150) i

update toast set small = 't'; update toast set id = 2; update toast set ext = 'no more', small = null; delete from toast

create table toastkey (k text primary key, v int); alter table toastkey alter k set storage external;
insert into toastkey values (repeat('key ', 600), 1)

update toastkey set v = 2; update toastkey set k = 'short'

create table t1 (a int primary key); create table t2 (a serial primary key, r int references t1); create table t3 (a int);
insert into t1 values (1); insert into t2 (r) values (1); insert into t3 values (1)

truncate t3; insert into t3 values (2); truncate t1, t3 restart identity cascade

insert into t1 values (5); insert into t2 (r) values (5)

create table generated (id int generated always as identity primary key, a int, twice int generated always as (a * 2) stored);
insert into generated (a) values (1), (2)

update generated set a = 3 where a = 1; delete from generated where a = 2

create table "Sch.éma"."Ta.ble ""quoted"" *>$" ("Col.umn" int primary key, "sélect ""x""" "Sch.éma"."Ty.pe", "  " text);
insert into "Sch.éma"."Ta.ble ""quoted"" *>$" values (1, 'x', 'y')

update "Sch.éma"."Ta.ble ""quoted"" *>$" set "Col.umn" = 2

create table zoo (
 id int primary key, i2 smallint, i8 bigint, f4 real, f8 double precision, n numeric, n2 numeric(10, 3), m money, b boolean,
 t text, vc varchar(9), ch char(6), c1 "char", nm name, ba bytea, d date, ti time, tz timetz, ts timestamp, tstz timestamptz(3), iv interval,
 u uuid, ip inet, cidr cidr, mac macaddr, bits bit(5), vb varbit, js json, jb jsonb, x xml, p point, box box, circle circle, path path, poly polygon,
 tsv tsvector, tsq tsquery, lsn pg_lsn, x8 xid8, o oid, r regclass, i4r int4range, nr numrange, tsr tstzrange, dmr datemultirange, fr floatrange,
 e mood, y year, em mood[], dm moods, co pair, cos pair[], ia int[], ta text[], ba2 bytea[], jp jsonpath)

insert into zoo values (1, -32768, 9223372036854775807, 0.1, 0.1, 12345678901234567890.1234567890, 1.5, 12.34, true,
 E'tab\t nl\n "q" ''s'' \\ \u2028 🌊', 'é', 'pad', 'c', 'na.me', '\x00ff5c27', '2024-02-29', '23:59:59.999999', '01:02:03+05:30', '2024-02-29 12:00:00.000001', '2024-02-29 12:00:00.123456+02', '1 year 2 mons -3 days 04:05:06.7',
 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '10.0.0.1', '10.0.0.0/8', '08:00:2b:01:02:03', B'10101', B'1', '{"b": 1,  "a": [1, 2.50, "x"], "a": null}', '{"b": 1, "a": [1, 2.50, "x"]}', '<a>b</a>', '(1,-2.5)', '(1,1),(0,0)', '<(0,0),1>', '[(0,0),(1,1)]', '((0,0),(1,1),(2,0))',
 'a:1 b:2A', 'a & !b', '16/B374D848', '12345678901', 4294967295, 'pg_class', '[1,5)', '(,2.5]', '[2024-01-01 00:00+00,)', '{[2024-01-01,2024-01-03),[2025-01-01,)}', '[1.5,2.5]',
 'it''s "great"', 2024, '{sad,NULL,"it''s \"great\""}', '{sad}', '(1,"x ""y""")', '{"(1,)","(,\"a,b\")"}', '[0:1]={1,2}', '{"NULL",NULL,"","a,b"}', '{"\\x00","\\xff"}', '$.a[*] ? (@ > 1)')

insert into zoo (id, f4, f8, n, d, ts, tstz, iv, i4r, js, jb, ia, t) values
 (2, 'NaN', '-Infinity', '-Infinity', '-infinity', 'infinity', '-infinity', '-178000000 years', 'empty', ' null ', '"s"', '{}', ''),
 (3, '-0', '-0', '0.000', '0044-03-15 BC', '0044-03-15 12:00 BC', '0044-03-15 12:00+00 BC', '-00:00:00.000001', '[1,1]', '1e400', '1e40', '{{1,2},{3,4}}', ' '),
 (4, 3.4028235e38, 1.7976931348623157e308, 1e-100, '5874897-12-31', '294276-12-31 23:59:59.999999', '294276-12-31 23:59:59.999+00', '0', '(,)', '"\u0041\ud83c\udf0a"', '{"": {}}', null, null),
 (5, 1e-45, 5e-324, 1e100, '4713-01-01 BC', '4713-01-01 00:00 BC', '10000-01-01', '1 mon', null, '[]', '[]', null, E'\x01\x7f')

update zoo set t = 'changed', e = 'sad' where id < 3; delete from zoo where id = 5

alter type mood rename value 'ok' to 'fine'; insert into zoo (id, e) values (6, 'fine')

alter table plain add column added mood default 'sad'; update plain set added = null where id = 1

alter table plain replica identity full; update plain set v = 'after' where id = 1; alter table plain drop column n; insert into plain values (7, 'last', 'fine')

select pg_replication_origin_create('tidemark_tour'); select pg_replication_origin_session_setup('tidemark_tour')

select pg_replication_origin_xact_setup('0/AB', '2020-01-01 00:00+00'); insert into plain values (8, 'from elsewhere', null)

select pg_replication_origin_session_reset(); select pg_replication_origin_drop('tidemark_tour')
