package archiver

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"tidemark/internal/archive"
	"tidemark/internal/capture"
	"tidemark/internal/journal"
	"tidemark/internal/objstore"
	"tidemark/internal/position"
	"tidemark/internal/postgres/pgtest"
	"tidemark/internal/progress"
	"tidemark/internal/sink"
	"tidemark/internal/snapshot"
	"tidemark/internal/source"
	"tidemark/internal/vfs"
)

var rigs atomic.Int64

// rig is the whole path from a source to an archive, without the service around it.
type rig struct {
	url    string
	conn   *pgx.Conn
	bucket objstore.Bucket
	board  *progress.Board
	log    *slog.Logger
	src    source.Config
	stops  []func()
}

const rigSchema = `
create schema "Odd ""name";
create type public.mood as enum ('low', 'high');
create table public.account (id bigint generated always as identity primary key, owner text not null unique, balance numeric not null check (balance > -1e9), mood public.mood);
create table "Odd ""name"."Log" (at timestamptz, note text, body jsonb, tags text[]);
alter table "Odd ""name"."Log" replica identity full;
create table public.payment (id serial primary key, account bigint not null references public.account, cents int not null, doubled int generated always as (cents * 2) stored);
create table public.wide (id int primary key, big text, n int);
create sequence public.ticket increment by -5 start with 1000 maxvalue 1000;
create view public.rich as select * from public.account where balance > 10;
insert into public.account (owner, balance, mood) select 'early ' || i, i, 'low' from generate_series(1, 50) i;
insert into public.wide select i, repeat(md5(i::text), 200), 0 from generate_series(1, 20) i;
`

func newRig(t *testing.T, major int, bucket objstore.Bucket) *rig {
	t.Helper()
	r := &rig{url: pgtest.Database(t, major), bucket: bucket, board: progress.New(), log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	pgtest.Exec(t, r.url, rigSchema)
	r.src = source.Config{URL: r.url, Slot: fmt.Sprintf("archiver_%d", rigs.Add(1)), Heartbeat: 100 * time.Millisecond}.WithDefaults()
	if _, err := source.Init(t.Context(), r.src, r.log); err != nil {
		t.Fatal(err)
	}
	r.conn = pgtest.Connect(t, r.url)
	start, err := source.Gate(t.Context(), r.src, source.Identity{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	id := journal.Identity{
		SystemID: start.Identity.SystemID, Timeline: start.Identity.Timeline, Database: start.Identity.Database,
		ServerVersion: int(start.Identity.ServerVersion), Slot: r.src.Slot, Generation: start.Identity.Generation,
	}
	j, err := journal.Open(vfs.OS{}, journal.Config{Dir: t.TempDir()}, id, start.LSN, r.board, nil, r.log)
	if err != nil {
		t.Fatal(err)
	}
	c, err := capture.New(capture.Config{
		Source: r.src, Journal: start.Identity, Start: start.LSN, Confirmed: start.Confirmed, Appender: appender{j}, Board: r.board, Log: r.log,
	})
	if err != nil {
		t.Fatal(err)
	}
	stream := Stream{
		SystemID: id.SystemID, Timeline: id.Timeline, Database: id.Database, ServerVersion: uint32(id.ServerVersion), Slot: id.Slot, Generation: id.Generation,
	}
	extent := func() (after, end position.LSN) { return j.Oldest(), j.End() }
	s, err := New(Config{Bucket: bucket, FlushInterval: 50 * time.Millisecond, FlushSize: 16 << 10}, stream, extent, r.log)
	if err != nil {
		t.Fatal(err)
	}
	runner, err := sink.New(sink.Config{Name: progress.Archive, Sink: s, Board: r.board, Log: r.log, Open: func(after position.LSN) (sink.Log, error) { return j.Read(after) }})
	if err != nil {
		t.Fatal(err)
	}
	r.stops = []func(){
		func() {
			if err := j.Close(context.Background()); err != nil {
				t.Errorf("close journal: %v", err)
			}
		},
		r.background(t, runner.Run), r.background(t, c.Loop), r.background(t, source.NewHeartbeat(r.src, r.log, nil).Run),
	}
	t.Cleanup(r.stop)
	return r
}

// background runs a stage until the function that is returned is called.
func (r *rig) background(t *testing.T, run func(context.Context) error) func() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := run(ctx); err != nil {
			t.Errorf("stage ended: %v", err)
		}
	}()
	return func() { cancel(); <-done }
}

// stop ends the path, the source's side first. It may be called twice.
func (r *rig) stop() {
	for i := len(r.stops) - 1; i >= 0; i-- {
		r.stops[i]()
	}
	r.stops = nil
}

type appender struct{ *journal.Journal }

func (r *rig) exec(t *testing.T, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := r.conn.Exec(t.Context(), s, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// moment is what the source was at an LSN and a time.
type moment struct {
	name string
	lsn  position.LSN
	time position.Time
	rows map[string]string
}

// mark takes down the present state. All transactions so far end at or below its LSN and committed at or before its time.
func (r *rig) mark(t *testing.T, name string) moment {
	t.Helper()
	m := moment{name: name, rows: contents(t, r.conn)}
	var lsn string
	var at time.Time
	if err := r.conn.QueryRow(t.Context(), "select pg_current_wal_insert_lsn()::text, clock_timestamp()").Scan(&lsn, &at); err != nil {
		t.Fatal(err)
	}
	var err error
	if m.lsn, err = position.ParseLSN(lsn); err != nil {
		t.Fatal(err)
	}
	m.time = position.TimeOf(at)
	return m
}

// contents gives every table's rows as sorted text.
func contents(t *testing.T, conn *pgx.Conn) map[string]string {
	t.Helper()
	rows, err := conn.Query(t.Context(), `select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where c.relkind = 'r' and n.nspname not in ('pg_catalog', 'information_schema', 'tidemark')`)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, table := range tables {
		var text string
		if err := conn.QueryRow(t.Context(), "select coalesce(string_agg(x::text, e'\\n' order by x::text), '') from "+table+" x").Scan(&text); err != nil {
			t.Fatal(err)
		}
		out[table] = text
	}
	return out
}

// archived waits until the archive holds everything up to an LSN.
func (r *rig) archived(t *testing.T, lsn position.LSN) {
	t.Helper()
	limit := time.After(30 * time.Second)
	for {
		changed := r.board.Changed()
		if m, ok := r.board.Get(progress.Archive); ok && m.Stored >= lsn {
			return
		}
		select {
		case <-changed:
		case <-limit:
			m, _ := r.board.Get(progress.Archive)
			t.Fatalf("the archive stands at %s after 30 s, want %s", m.Stored, lsn)
		}
	}
}

func (r *rig) base(t *testing.T) archive.Manifest {
	t.Helper()
	m, err := snapshot.TakeBase(t.Context(), snapshot.BaseOptions{
		SourceURL: r.url, Bucket: r.bucket, Publication: r.src.Publication.Name, PartSize: 2000, Jobs: 2, Log: r.log,
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// work makes transactions of all kinds; i tells rounds apart.
func (r *rig) work(t *testing.T, i int) {
	t.Helper()
	r.exec(t,
		fmt.Sprintf("insert into account (owner, balance, mood) select 'round %d/' || k, k * 1.5, 'high' from generate_series(1, 30) k", i),
		fmt.Sprintf("begin; update account set balance = balance - 1 where id %% 7 = %d; insert into payment (account, cents) select min(id), %d from account; commit", i%7, i),
		`insert into "Odd ""name"."Log" select now(), 'note', '{"a": [1, 2.50]}', array['x', null, '"y"'] from generate_series(1, 5)`,
		`delete from "Odd ""name"."Log" where ctid = (select min(ctid) from "Odd ""name"."Log")`,
		fmt.Sprintf("update wide set n = n + 1 where id <= %d; update wide set id = id + 100 where id = %d", 1+i%5, 6+i),
		"select nextval('ticket') from generate_series(1, 3)",
		"delete from payment where cents % 3 = 2",
	)
	if i%4 == 3 {
		r.exec(t, `begin; truncate "Odd ""name"."Log"; insert into "Odd ""name"."Log" (note) values ('after the truncate'); commit`)
	}
}

func nameOf(m moment) string { return strings.ReplaceAll(m.name, " ", "_") }
