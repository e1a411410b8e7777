package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// shapes are tables that pgbench does not have: quoted names, TOAST, no key, identity, partitions, generated columns.
const shapes = `
create schema "Mix.ed";
create table "Mix.ed"."Items" (id bigint primary key, qty int, price numeric(20, 4), note text, doc jsonb, raw bytea, tags text[], at timestamptz, ok boolean, ratio double precision,
  twice int generated always as (qty * 2) stored);
alter table "Mix.ed"."Items" alter note set storage external;
create table "Mix.ed".dups (a int, b text);
alter table "Mix.ed".dups replica identity full;
create table "Mix.ed".shrink (id int generated always as identity primary key, v text);
create table "Mix.ed".events (k int, v text, primary key (k)) partition by hash (k);
create table "Mix.ed".events_0 partition of "Mix.ed".events for values with (modulus 2, remainder 0);
create table "Mix.ed".events_1 partition of "Mix.ed".events for values with (modulus 2, remainder 1);
insert into "Mix.ed"."Items" (id, qty, note) select i, i, repeat('x', 3000) from generate_series(1, 50) i;
insert into "Mix.ed".dups select i % 5, 'b' from generate_series(1, 30) i;
`

// pgbench runs PostgreSQL's own load generator.
func pgbench(t testing.TB, url string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("pgbench")
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pgbench"); len(found) > 0 {
		path, err = found[len(found)-1], nil
	}
	if err != nil {
		t.Fatalf("find pgbench: %v: run 'make setup'", err)
	}
	cfg, err := pgconn.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "PGHOST="+cfg.Host, "PGPORT="+strconv.Itoa(int(cfg.Port)), "PGUSER="+cfg.User,
		"PGDATABASE="+cfg.Database, "PGPASSWORD="+cfg.Password, "PGSSLMODE=disable")
	return cmd
}

// prepare makes the tables of the load.
func prepare(t testing.TB, url string) {
	t.Helper()
	scale := number(t, "TIDEMARK_PGBENCH_SCALE", 2)
	if out, err := pgbench(t, url, "-i", "-q", "-s", strconv.Itoa(scale)).CombinedOutput(); err != nil {
		t.Fatalf("pgbench -i: %v: %s", err, out)
	}
	conn := connect(t, url)
	sql(t, conn, "alter table public.pgbench_history replica identity full", shapes)
}

// load is a load that runs: pgbench, and a session that does what pgbench does not.
type load struct {
	bench  *child
	out    strings.Builder
	cancel context.CancelFunc
	mixed  chan error
}

// startLoad starts a load that ends after a time of its own, or with stop.
func startLoad(t testing.TB, url string, length time.Duration, seed *rand.Rand) *load {
	t.Helper()
	clients := number(t, "TIDEMARK_PGBENCH_CLIENTS", 4)
	l := &load{mixed: make(chan error, 1)}
	cmd := pgbench(t, url, "-n", "-c", strconv.Itoa(clients), "-j", "2", "-T", strconv.Itoa(int(length.Seconds())))
	cmd.Stdout, cmd.Stderr = &l.out, &l.out
	l.bench = start(t, cmd)
	ctx, cancel := context.WithTimeout(t.Context(), length)
	l.cancel = cancel
	m := &mixer{conn: connect(t, url), random: rand.New(rand.NewPCG(seed.Uint64(), seed.Uint64())), next: 1000}
	go func() { l.mixed <- m.run(ctx) }()
	return l
}

// wait waits for the end of the load.
func (l *load) wait(t testing.TB) {
	t.Helper()
	<-l.bench.done
	l.cancel()
	if err := <-l.mixed; err != nil {
		t.Fatalf("load: %v", err)
	}
	for line := range strings.Lines(l.out.String()) {
		if strings.HasPrefix(line, "tps") || strings.Contains(line, "actually processed") {
			t.Log(strings.TrimSpace(line))
		}
	}
}

// stop ends the load at once: transactions that were under way are rolled back.
func (l *load) stop(t testing.TB) {
	t.Helper()
	l.bench.signal(t, syscall.SIGKILL, 10*time.Second)
	l.wait(t)
}

// mixer is one session that runs random transactions.
type mixer struct {
	conn   *pgx.Conn
	random *rand.Rand
	next   int
}

func (m *mixer) run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := m.transaction(context.WithoutCancel(ctx)); err != nil {
			return err
		}
	}
	return nil
}

func (m *mixer) transaction(ctx context.Context) error {
	tx, err := m.conn.Begin(ctx)
	if err != nil {
		return err
	}
	for range 1 + m.random.IntN(8) {
		statement := m.statement()
		if _, err := tx.Exec(ctx, statement, pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	if m.random.IntN(10) == 0 {
		return tx.Rollback(ctx)
	}
	return tx.Commit(ctx)
}

// statement is one of the things that go wrong in replication.
func (m *mixer) statement() string {
	m.next++
	r := m.random.IntN
	some := fmt.Sprintf(`(select id from "Mix.ed"."Items" order by id offset %d limit 1)`, r(50))
	const items, one = `"Mix.ed"."Items"`, `(select ctid from "Mix.ed".dups limit 1)`
	switch r(14) {
	case 0, 1:
		return fmt.Sprintf(`insert into %s (id, qty, price, note, doc, raw, tags, at, ok, ratio) values (%d, %d, %d / 7.0, repeat('tab	"\line
', %d), jsonb_build_object('k', %d, 's', E'\n"x"'), decode(md5('%d'), 'hex'), array['a"', null, '{%d}'], now(), %t, %d / 3.0)`,
			items, m.next, r(1000), r(100000), r(300), r(10), m.next, r(9), r(2) == 0, r(100))
	case 2:
		return fmt.Sprintf(`insert into %s (id, qty, price, ratio, at) values (%d, null, 'NaN', '-Infinity', 'infinity')`, items, m.next)
	case 3, 4: // an unchanged TOAST value
		return fmt.Sprintf(`update %s set qty = qty + 1, ratio = ratio * 1.1 where id = %s`, items, some)
	case 5:
		return fmt.Sprintf(`update %s set note = repeat(md5('%d'), 100) where id = %s`, items, m.next, some)
	case 6: // a key changes
		return fmt.Sprintf(`update %s set id = %d where id = %s`, items, m.next, some)
	case 7:
		return fmt.Sprintf(`delete from %s where id = %s and (select count(*) from %s) > 60`, items, some, items)
	case 8:
		return fmt.Sprintf(`insert into "Mix.ed".dups select %d, null from generate_series(1, %d)`, r(5), 1+r(3))
	case 9: // one of several equal rows
		return fmt.Sprintf(`update "Mix.ed".dups set b = 'b%d' where ctid = %s`, r(3), one)
	case 10:
		return `delete from "Mix.ed".dups where ctid = ` + one
	case 11:
		if r(4) == 0 {
			return `truncate "Mix.ed".shrink`
		}
		return fmt.Sprintf(`insert into "Mix.ed".shrink (v) select 'v' || i from generate_series(1, %d) i`, r(20))
	case 12:
		return fmt.Sprintf(`insert into "Mix.ed".events values (%d, 'e') on conflict (k) do update set v = events.v || 'x'`, r(500))
	default: // between partitions
		return fmt.Sprintf(`update "Mix.ed".events set k = %d where k = (select min(k) from "Mix.ed".events)`, 1000+m.next)
	}
}
