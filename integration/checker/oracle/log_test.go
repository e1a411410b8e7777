package oracle

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"tidemark/internal/position"
	"tidemark/internal/postgres/pgtest"

	"tidemark/integration/checker/fold"
	"tidemark/integration/checker/workload"
)

// more are shapes that the workload does not have.
const more = `create schema tidemark;
create table tidemark.heartbeat (v int);
create table public.deferred_key (id int primary key deferrable, v text);
alter table public.deferred_key replica identity full;
create table public.partial_key (a int, b int, v text, primary key (b) include (v));
create table public.no_key (v text);
create type public."odd [type" as enum ('a', 'b'']:');
create table public."new-tuple: x[int]:1" ("old-key:" int primary key, " b[text]:'" public."odd [type"[], "B" bit(3), "C" varbit);`

func TestTables(t *testing.T) {
	p := newProof(t, 0, more)
	found := map[string]fold.Table{}
	for _, table := range p.tables {
		found[table.String()] = table
	}
	for name, want := range map[string]struct {
		key      string
		identity fold.Identity
	}{
		"public.plain": {"id", fold.Keyed}, "public.composite": {"c a", fold.Keyed}, "public.by_index": {"code n", fold.Keyed}, "public.insert_only": {"", fold.Full}, "public.bag": {"", fold.Full},
		"public.nothing": {"", fold.Full}, "public.events_1": {"k", fold.Keyed}, `Odd.Schema.By List/rest/low`: {"id region", fold.Keyed}, "public.deferred_key": {"", fold.Full},
		"public.partial_key": {"b", fold.Keyed}, "public.no_key": {"", fold.None}, "public.identity_switch": {"id", fold.Keyed},
	} {
		table, ok := found[name]
		var key []string
		for _, i := range table.Key {
			key = append(key, table.Columns[i].Name)
		}
		if !ok || table.Identity != want.identity || strings.Join(key, " ") != want.key {
			t.Errorf("%s is %+v, there: %v", name, table, ok)
		}
	}
	for _, name := range []string{"public.events", "private.notes", "tidemark.heartbeat", "Odd.Schema.By List", "Odd.Schema.By List/rest"} {
		if _, ok := found[name]; ok {
			t.Errorf("%s is in the model", name)
		}
	}
	if got := len(found["public.wide"].Columns); got != 200 {
		t.Errorf("the wide table has %d columns", got)
	}
	if got := found["public.computed"].Columns; len(got) != 3 || got[1].Name != "a" || got[1].Type != "integer" {
		t.Errorf("the table with generated columns has %v", got)
	}
	p.exec(t, "alter table public.identity_switch replica identity full")
	again, err := Tables(t.Context(), p.conn)
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range again {
		if table.Name == "identity_switch" && (table.Identity != fold.Keyed || len(table.Key) != 1) {
			t.Errorf("under FULL it is %+v", table)
		}
	}
}

// TestShapes makes one kind of change at a time; after each the heap is what the log says.
func TestShapes(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		p := newProof(t, major, more)
		statements := []string{
			`insert into public.types (id, mood, pos, pair, pairs, moods, ints, texts, num, price, day, at, atz, took, doc, raw, ok, c5, f8, f4) values
				(1, 'Ha "ppy"', 5, '(,)', '{"(,)",NULL}', '{sad,"o''k"}', '[2:3]={1,NULL}', '{"a''b",NULL,"NULL"}', 'NaN', '1.5', '0044-03-15 BC', 'infinity', '2024-01-01 00:00:00+14', '1 mon -1 day', '{"a": 1}', '\x00ff', true, 'é', '-0', 'NaN'),
				(2, '', null, '(1,"a''b")', '{}', '{}', '{{1},{2}}', '{}', 'Infinity', 'NaN', '5874897-12-31', '4713-01-01 00:00:00 BC', '-infinity', '0', '[]', '\x', false, 'abcde', 'Infinity', '1e-30')`,
			"insert into public.types (id) values (3)",
			"update public.types set ok = not ok, num = '-1e60', doc = null",
			`insert into public."new-tuple: x[int]:1" values (1, '{"b'']:",NULL}', '101', ''), (2, null, null, '01')`,
			`update public."new-tuple: x[int]:1" set "old-key:" = "old-key:" + 10`,
			`insert into public.toast (id, a, b, c) select i, repeat(md5(i::text), 300), repeat('x', 100000), decode(repeat(md5(i::text), 300), 'hex') from generate_series(1, 3) i`,
			"update public.toast set n = 1",
			"update public.toast set id = id + 10, b = 'short' where id < 3",
			`insert into "Odd.Schema".toast_key (k, v) select string_agg(md5((i * 100 + j)::text), ''), repeat(md5(i::text), 200) from generate_series(1, 3) i, generate_series(1, 80) j group by i`,
			`update "Odd.Schema".toast_key set n = 5`,
			`update "Odd.Schema".toast_key set k = k || 'y' where n = 5`,
			`delete from "Odd.Schema".toast_key where k like '%y'`,
			"insert into public.toast_full select i % 2, repeat(md5('x'), 300), null, 1 from generate_series(1, 6) i",
			"update public.toast_full set n = null",
			"delete from public.toast_full where ctid = (select min(ctid) from public.toast_full)",
			"insert into public.bag values (null, null, null, null), (null, null, null, null), (1, '', 1.0, '-0'), (1, '', 1.00, 0)",
			"update public.bag set a = 2 where ctid = (select min(ctid) from public.bag)",
			"delete from public.bag where b is null",
			"insert into public.nothing select from generate_series(1, 5)",
			"delete from public.nothing where ctid in (select ctid from public.nothing limit 2)",
			"truncate public.nothing",
			"insert into public.events select i, i, 'v' from generate_series(1, 50) i",
			"update public.events set k = k + 1000",
			"truncate public.events_1",
			"truncate public.events, public.bag restart identity cascade",
			`insert into "Odd.Schema"."By List" values ('eu', 1, 'a'), ('zz', 1, 'a'), ('zz', 200, 'a'); update "Odd.Schema"."By List" set region = 'us' where region = 'zz' and id = 1`,
			"insert into public.tree_root values (1), (2); insert into public.tree_branch values (1, 1), (2, 2); insert into public.tree_leaf values (1, 1), (2, 2)",
			"delete from public.tree_root where id = 1",
			"update public.tree_root set id = 3",
			"truncate public.tree_root cascade",
			"insert into public.composite (a, c, v) values ('x', 1, 'v'), ('y', 2, null); update public.composite set c = c + 1; update public.composite set v = 'w' where a = 'x'",
			"insert into public.by_index values (1, 'v', 1, 'a'), (2, null, 1, 'b'); update public.by_index set n = 7 where id = 2; update public.by_index set id = 9 where id = 1; delete from public.by_index where id = 9",
			"insert into public.partial_key values (1, 1, 'a'), (null, 2, null); update public.partial_key set v = 'b'",
			"insert into public.deferred_key values (1, 'a'), (2, 'b'); update public.deferred_key set id = 3 - id",
			"insert into public.computed (id, a, b) values (1, 5, 'abc'), (2, null, null); update public.computed set a = 6; update public.computed set id = 3 where id = 1",
			"insert into public.wide (id, c1, c2, c3) values (1, 'x', true, 1.5); update public.wide set c199 = c199, c8 = 'y'",
			"insert into public.identity_switch values (1, 'a', null), (2, null, 2); alter table public.identity_switch replica identity full",
			"update public.identity_switch set n = 3; update public.identity_switch set id = 5 where id = 1; delete from public.identity_switch where id = 2",
			"alter table public.identity_switch replica identity default; update public.identity_switch set id = 6",
			"alter table public.insert_only replica identity nothing; insert into public.insert_only (v) values ('a'), ('a'); insert into public.no_key values ('x')",
			"truncate public.insert_only",
			"begin; insert into public.plain (id) values (1); savepoint a; insert into public.plain (id) values (2); savepoint b; delete from public.plain; rollback to b; insert into public.plain (id) values (3); rollback to a; insert into public.plain (id) values (4); commit",
			"begin; insert into public.plain (id) values (77); rollback",
			"insert into public.bulk select i, i, md5(i::text) from generate_series(1, 5000) i; update public.bulk set n = -n where id % 2 = 0; delete from public.bulk where id % 3 = 0",
			"begin; truncate public.bulk; insert into public.bulk values (1, 1, 'again'); commit",
			"select pg_logical_emit_message(true, 'user', E'COMMIT 7\\nBEGIN 8'), pg_logical_emit_message(false, 'table public.plain: INSERT: x', 'BEGIN 9')",
			"insert into private.notes values (1, 'x'); insert into tidemark.heartbeat values (1)",
			"begin; insert into public.plain (id) values (900); insert into private.pile values ('x'); prepare transaction 'held'",
			"commit prepared 'held'",
		}
		for i, s := range statements {
			p.exec(t, s)
			last := i == len(statements)-1
			if last || strings.HasPrefix(statements[i+1], "truncate") || i%3 == 0 && !strings.Contains(s, "prepare transaction") {
				p.sample(t, s)
			}
		}
		p.rows(t)
	})
}

// TestEnds compares the ends of transactions with the WAL itself, which version 14 cannot show in SQL.
func TestEnds(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		p := newProof(t, major, more)
		if major >= 15 {
			p.exec(t, "create extension pg_walinspect schema public")
		}
		from := p.lsn(t)
		for _, s := range []string{
			"insert into public.plain (id) values (1)", "insert into tidemark.heartbeat values (1)", "insert into private.notes values (1)",
			"select pg_logical_emit_message(true, 'p', 'x')", "begin; insert into public.plain (id) values (2); savepoint a; insert into public.plain (id) values (3); commit",
			"begin; insert into public.plain (id) values (4); prepare transaction 'p'", "commit prepared 'p'", "begin; insert into public.plain (id) values (5); rollback",
		} {
			p.exec(t, s)
		}
		to := p.lsn(t)
		if err := p.timeline.Wait(t.Context(), to); err != nil {
			t.Fatal(err)
		}
		known := map[string]bool{}
		for _, end := range p.commits(t, from, to) {
			known[end] = true
		}
		var published []bool
		for _, e := range p.timeline.Transactions(from, to) {
			if !known[e.End.String()] && major >= 15 {
				t.Errorf("transaction %d ends at %s, where no commit record does: %v", e.XID, e.End, known)
			}
			if age := time.Since(e.Commit); age < 0 || age > time.Minute {
				t.Errorf("transaction %d was committed %v ago", e.XID, age)
			}
			published = append(published, e.Published)
		}
		if want := []bool{true, true, false, false, true, true}; !slices.Equal(published, want) {
			t.Errorf("they are published: %v, not %v", published, want)
		}
	})
}

// commits lists where commit records end.
func (p *proof) commits(t *testing.T, from, to position.LSN) []string {
	t.Helper()
	if p.cluster.Major < 15 {
		return nil
	}
	rows, err := p.conn.Query(t.Context(), "select end_lsn::text from public.pg_get_wal_records_info($1::pg_lsn, $2::pg_lsn) where resource_manager = 'Transaction' and record_type like 'COMMIT%'",
		pgx.QueryExecModeExec, from.String(), to.String())
	if err != nil {
		t.Fatal(err)
	}
	ends, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return ends
}

func (p *proof) lsn(t *testing.T) position.LSN {
	t.Helper()
	var text string
	if err := p.conn.QueryRow(t.Context(), "select pg_catalog.pg_current_wal_flush_lsn()::text").Scan(&text); err != nil {
		t.Fatal(err)
	}
	at, err := position.ParseLSN(text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// TestLoad samples while the workload runs and the primary crashes, and compares the primary's own word for what is covered.
func TestLoad(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		p := newProofOn(t, pgtest.Start(t, options(major)))
		load := workload.New(workload.Config{URL: p.url, Seed: 7, Sessions: 4, Pause: 3 * time.Millisecond, Log: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan error, 2)
		go func() { ended <- load.Run(ctx) }()
		go func() { ended <- p.sampler.Run(ctx) }()
		p.samples(t, 2)
		if err := p.cluster.Crash(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := p.cluster.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.samples(t, 2)
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		p.connect(t)
		p.exec(t, "do $$ declare g text; begin for g in select gid from pg_catalog.pg_prepared_xacts loop raise exception 'prepared: %', g; end loop; end $$")
		p.sample(t, "the load")
		p.rows(t)
		counts := p.sampler.Counts()
		log := p.log.Counts()
		t.Logf("%v, %v", counts, log)
		if log["reference transactions sent again"] == 0 || log["reference connections"] < 2 {
			t.Error("nothing came again after the crash")
		}
	})
}

// TestSamplerFinds: a rewrite changes the heap, and no log says so.
func TestSamplerFinds(t *testing.T) {
	p := newProof(t, 0)
	p.exec(t, "insert into public.plain (id, v) values (1, 'secret one'), (2, 'secret two'); insert into public.bag (b) values ('x'), ('x')")
	p.sample(t, "insert")
	p.exec(t, "alter table public.plain alter v type text using case id when 1 then 'other' else v end")
	_, err := p.sampler.Sample(t.Context())
	var wrong *Error
	if !errors.As(err, &wrong) || !strings.Contains(err.Error(), `table public.plain`) || !strings.Contains(err.Error(), `key "1:1" is different`) || strings.Contains(err.Error(), "secret") || wrong.At == 0 {
		t.Fatalf("the error is %v", err)
	}
}

// TestSnapshotSlips: a TRUNCATE between a snapshot and its locks, and one that is under way.
func TestSnapshotSlips(t *testing.T) {
	p := newProof(t, 0)
	p.exec(t, "insert into public.plain (id) values (1)")
	exporter, err := connectReplication(t.Context(), p.url)
	if err != nil {
		t.Fatal(err)
	}
	defer closeConn(t.Context(), exporter)
	at, id, err := export(t.Context(), exporter, "slips")
	if err != nil {
		t.Fatal(err)
	}
	enter := func() error {
		conn, err := Connect(t.Context(), p.url)
		if err != nil {
			t.Fatal(err)
		}
		s := &snapshot{at: at, conn: conn}
		defer s.close(t.Context())
		return s.enter(t.Context(), id, p.tables)
	}
	if err := enter(); err != nil {
		t.Fatal(err)
	}
	p.exec(t, "begin", "truncate public.plain")
	if err := enter(); err == nil || errors.Is(err, errSlipped) {
		t.Fatalf("under a lock: %v", err)
	}
	p.exec(t, "commit")
	if err := enter(); !errors.Is(err, errSlipped) {
		t.Fatalf("after TRUNCATE: %v", err)
	}
	p.sample(t, "truncate")
}

// TestLogEnds: a slot that is gone ends the log with an Error.
func TestLogEnds(t *testing.T) {
	p := newProof(t, 0)
	p.stop()
	if err := <-p.failed; err != nil {
		t.Fatal(err)
	}
	for {
		_, err := p.conn.Exec(t.Context(), "select pg_drop_replication_slot($1)", p.log.cfg.Slot)
		if err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err := p.log.Run(t.Context()); !isError(err) {
		t.Errorf("the error is %v", err)
	}
	p.failed <- nil
}

func isError(err error) bool {
	_, ok := errors.AsType[*Error](err)
	return ok
}
