package integration

import (
	"maps"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"

	"tidemark/internal/position"
	"tidemark/internal/postgres/pgtest"
	"tidemark/internal/postgres/throwaway"
)

// path is a primary with everything that is fed from it.
type path struct {
	major   int
	random  *rand.Rand
	source  string
	standby string
	scratch *throwaway.Cluster // the standby's server, where databases are restored too
	nats    string
	store   store
	service *service
	begin   *fold // the stream's tables, at a moment after init
}

// newPath prepares the source with the load's tables, seeds the standby, starts the service and takes a base.
func newPath(t *testing.T, major int) *path {
	t.Helper()
	p := &path{major: major, random: random(t), source: pgtest.Database(t, major), nats: startNATS(t), store: startS3(t)}
	p.scratch = pgtest.Start(t, throwaway.Options{Major: major})
	p.standby = pgtest.DatabaseOn(t, p.scratch)
	prepare(t, p.source)
	database := query[string](t, connect(t, p.source), "select current_database()::text")
	p.service = newService(t, settings{
		source: p.source, slot: "slot_" + database, publication: "tidemark", standby: p.standby, nats: p.nats,
		archive: p.store.url("archive"), env: p.store.env(),
	})
	p.service.must(t, p.service.with("init")...)
	p.service.must(t, p.service.with("init")...) // again, and nothing happens
	p.service.must(t, p.service.with("snapshot", "standby")...)
	p.service.run(t)
	p.service.must(t, p.service.with("snapshot", "archive")...)
	begin := snapshotAt(t, p.source, major)
	p.begin = newFold(t, begin)
	_ = begin.conn.Close(t.Context())
	return p
}

var copies = []string{"journal", "standby", "nats", "archive"}

// settle waits until every copy holds what the primary holds now.
func (p *path) settle(t *testing.T) {
	t.Helper()
	end := snapshotAt(t, p.source, p.major)
	_ = end.conn.Close(t.Context())
	p.service.waitReached(t, end.lsn, 5*time.Minute, copies...)
}

// restore restores into a fresh database and returns its URL.
func (p *path) restore(t *testing.T, to ...string) string {
	t.Helper()
	target := pgtest.DatabaseOn(t, p.scratch)
	p.service.must(t, append([]string{"restore", "--archive", p.service.archive, "--target", target}, to...)...)
	return target
}

// stream folds the stream, as far as keep allows, and returns the tables and the transactions that were folded.
func (p *path) stream(t *testing.T, keep func(transaction) bool) (*fold, []transaction) {
	t.Helper()
	f := p.begin.clone()
	var list []transaction
	ended := false
	messages := readStream(t, p.nats, "CHANGES", func(tx transaction) {
		if ended = ended || tx.end > f.from && !keep(tx); ended || tx.end <= f.from {
			return
		}
		if err := f.apply(tx); err != nil {
			t.Fatal(err)
		}
		list = append(list, transaction{end: tx.end, commit: tx.commit})
	})
	t.Logf("stream: %d messages, %d transactions folded", messages, len(list))
	return f, list
}

// verify compares every copy with the primary, whose load has ended.
func (p *path) verify(t *testing.T) []transaction {
	t.Helper()
	want := digest(t, connect(t, p.source))
	same(t, "standby", want, digest(t, connect(t, p.standby)))
	restored := p.restore(t, "--latest")
	same(t, "restore", want, digest(t, connect(t, restored)))
	f, list := p.stream(t, func(transaction) bool { return true })
	same(t, "stream", want, f.load(t, restored))
	return list
}

// TestWholePath: after a load, standby, stream and restore are what the primary is; and a restore to a moment in the
// middle is what the primary was.
func TestWholePath(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		p := newPath(t, major)
		seconds := number(t, "TIDEMARK_PGBENCH_SECONDS", 10)
		l := startLoad(t, p.source, time.Duration(seconds)*time.Second, p.random)
		middle := p.middle(t)
		l.wait(t)
		p.settle(t)
		list := p.verify(t)

		t.Run("to an LSN", func(t *testing.T) {
			same(t, "restore to "+middle.lsn.String(), middle.want, digest(t, connect(t, p.restore(t, "--to-lsn", middle.lsn.String()))))
		})
		t.Run("to a time", func(t *testing.T) {
			// A moment in the second half: every transaction before the first that committed later.
			at := list[len(list)/2+p.random.IntN(len(list)/2)].commit
			restored := p.restore(t, "--to", at.Format(time.RFC3339Nano))
			got := digest(t, connect(t, restored))
			f, kept := p.stream(t, func(tx transaction) bool { return !tx.commit.After(at) })
			if len(kept) == 0 || len(kept) == len(list) && at.Before(list[len(list)-1].commit) {
				t.Fatalf("%d of %d transactions are before %v", len(kept), len(list), at)
			}
			same(t, "restore to "+at.String(), f.load(t, restored), got)
		})
		p.service.stop(t)
		p.service.must(t, p.service.with("journal", "verify")...)
	})
}

// moment is what the primary was at an LSN.
type moment struct {
	lsn  position.LSN
	want digests
}

// middle takes the primary's own word in the middle of the load.
func (p *path) middle(t *testing.T) moment {
	t.Helper()
	watch := connect(t, p.source)
	eventually(t, time.Minute, "the load has written rows", func() bool {
		return query[int](t, watch, "select count(*) from public.pgbench_history") > 500
	})
	at := snapshotAt(t, p.source, p.major)
	defer func() { _ = at.conn.Close(t.Context()) }()
	return moment{lsn: at.lsn, want: digest(t, at.conn)}
}

// TestKills kills the service at random moments under load: nothing is lost, nothing is there twice, and the journal is whole.
func TestKills(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		p := newPath(t, major)
		const most = time.Hour // until stop
		l := startLoad(t, p.source, most, p.random)
		seconds := float64(number(t, "TIDEMARK_PGBENCH_SECONDS", 10))
		kills := number(t, "TIDEMARK_KILLS", 5)
		for i := range kills {
			// A random moment is the point of this wait: at once, while starting, or at work.
			wait := time.Duration(p.random.Float64() * 2 * seconds / float64(kills) * float64(time.Second))
			select {
			case <-time.After(wait):
			case <-p.service.running.done:
				t.Fatalf("the service ended by itself: %v", p.service.running.err)
			}
			p.service.kill(t)
			t.Logf("kill %d after %v", i+1, wait.Round(time.Millisecond))
			p.service.run(t)
		}
		l.stop(t)
		p.settle(t)
		p.verify(t)
		p.service.stop(t)
		out := p.service.must(t, p.service.with("journal", "verify")...)
		t.Logf("journal:\n%s", out)
	})
}

// TestStopsWhileBusy: SIGTERM under load ends the service well, and it goes on where it stopped.
func TestStopsWhileBusy(t *testing.T) {
	p := newPath(t, pgtest.Majors(t)[0])
	l := startLoad(t, p.source, time.Hour, p.random)
	middle := p.middle(t)
	for range 2 {
		p.service.stop(t)
		p.service.run(t)
		p.service.waitReached(t, middle.lsn, 2*time.Minute, copies...)
	}
	l.stop(t)
	p.settle(t)
	p.verify(t)
}

// clone copies the tables; rows are never changed in place.
func (f *fold) clone() *fold {
	out := &fold{from: f.from, tables: map[string]*folded{}}
	for name, tb := range f.tables {
		out.tables[name] = &folded{table: tb.table, rows: maps.Clone(tb.rows), bag: maps.Clone(tb.bag)}
	}
	return out
}

// TestStandbyIsSeededUnderLoad: the service runs, the load runs, and the standby is seeded in the middle of both.
func TestStandbyIsSeededUnderLoad(t *testing.T) {
	p := newPath(t, pgtest.Majors(t)[0])
	l := startLoad(t, p.source, time.Hour, p.random)
	p.middle(t)
	p.service.stop(t)
	p.service.must(t, p.service.with("snapshot", "standby", "--force")...)
	p.service.run(t)
	l.stop(t)
	p.settle(t)
	same(t, "standby", digest(t, connect(t, p.source)), digest(t, connect(t, p.standby)))
}

// TestPrimaryCrash: the primary crashes and comes back, twice; everything that it kept arrives, and nothing twice.
func TestPrimaryCrash(t *testing.T) {
	major := pgtest.Majors(t)[0]
	primary := pgtest.Start(t, throwaway.Options{Major: major})
	url := pgtest.DatabaseOn(t, primary)
	conn := connect(t, url)
	sql(t, conn, "create table public.ledger (id bigint generated always as identity primary key, v text)")
	scratch := pgtest.Shared(t, major)
	standby := pgtest.DatabaseOn(t, scratch)
	v := newService(t, settings{source: url, slot: "crash", publication: "tidemark", standby: standby, nats: startNATS(t)})
	v.must(t, v.with("init")...)
	v.must(t, v.with("snapshot", "standby")...)
	v.run(t)
	for range 2 {
		bench := start(t, pgbench(t, url, "-n", "-c", "2", "-T", "3600", "-f", writeScript(t, "insert into public.ledger (v) values (repeat('x', 50));")))
		watch := connect(t, url)
		before := query[int](t, watch, "select count(*) from public.ledger")
		eventually(t, time.Minute, "rows are written", func() bool { return query[int](t, watch, "select count(*) from public.ledger") > before+200 })
		if err := primary.Crash(t.Context()); err != nil {
			t.Fatal(err)
		}
		bench.signal(t, syscall.SIGKILL, 10*time.Second)
		if err := primary.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	end := snapshotAt(t, url, major)
	want := digest(t, end.conn)
	_ = end.conn.Close(t.Context())
	v.waitReached(t, end.lsn, 2*time.Minute, "journal", "standby", "nats")
	same(t, "standby", want, digest(t, connect(t, standby)))
	v.stop(t)
	v.must(t, v.with("journal", "verify")...)
}

func writeScript(t testing.TB, text string) string {
	t.Helper()
	name := t.TempDir() + "/script.sql"
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
