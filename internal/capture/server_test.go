package capture

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"tidemark/internal/postgres/pgtest"
	"tidemark/internal/postgres/throwaway"
	"tidemark/internal/segment"
)

const schema = `create type mood as enum ('sad', 'ok');
create table a(id int primary key, v text, m mood);
create table "B b"(id int, v jsonb); alter table "B b" replica identity full;
create table c(id int primary key) partition by range (id);
create table c1 partition of c for values from (0) to (100);
create table c2 partition of c for values from (100) to (200)`

func TestTour(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		url := pgtest.Database(t, major)
		pgtest.Exec(t, url, schema)
		r := newRig(t, url, nil)
		r.start(t)
		pgtest.Exec(t, url,
			"insert into a select g, 'v'||g, 'ok' from generate_series(1, 10) g",
			"update a set v = 'x' where id < 4; update a set id = id + 100 where id = 1; delete from a where id = 9",
			`insert into "B b" values (1, '{"a": 1}'), (1, '{"a": 1}'); update "B b" set v = '{}'; delete from "B b"`,
			"insert into c values (1), (150); update c set id = 160 where id = 1; truncate c, a",
			"begin; insert into a values (1); rollback",
			"begin; insert into a values (2); savepoint s; insert into a values (3); rollback to s; insert into a values (4); commit",
			"begin; insert into a values (20, 'a'); alter table a add column w int default 7; insert into a values (21, 'b', 'sad', 9); alter table a drop column v; update a set w = 1; commit",
			"alter type mood rename to feeling; insert into a values (30, 'ok', 3)",
			"create table unpublished(i int primary key); insert into unpublished values (1)",
			"begin; insert into a select g, 'ok', g from generate_series(1000, 4000) g; alter table a add column z text default 'z'; insert into a(id) select g from generate_series(5000, 8000) g; commit",
		)
		pgtest.Exec(t, url, "drop table unpublished")
		// The oracle counts rows of unpublished tables too; it is the only one here.
		r.marker(t)
		got, _ := r.memory.transactions()
		want := oracle(t, url, r.oracle)
		if len(want) != len(got)+1 {
			t.Fatalf("%d transactions, want one less than the oracle's %d", len(got), len(want))
		}
		skip := 0
		for i, g := range got {
			if want[i+skip].end != g.end && skip == 0 {
				skip = 1
			}
			if w := want[i+skip]; w.end != g.end || w.rows != g.rows {
				t.Errorf("transaction %d is %+v, want %+v", i, g, w)
			}
		}
		state := r.capture.State()
		if !state.Connected || state.Confirmed.IsZero() || state.WALEnd < state.Received || state.Offset.Abs() > time.Second {
			t.Errorf("state is %+v", state)
		}
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		// The last feedback was delivered: the slot stands at the end of what is durable, or beyond while idle.
		if c := r.confirmed(t); c < got[len(got)-1].end {
			t.Errorf("slot confirms %s after stop, want at least %s", c, got[len(got)-1].end)
		}
	})
}

func TestBigTransactionInBoundedMemory(t *testing.T) {
	url := pgtest.Database(t, 0)
	pgtest.Exec(t, url, "create table big(id int primary key, t text)")
	r := newRig(t, url, nil)
	var peak atomic.Uint64
	parts := 0
	r.memory.before = func(a segment.Append) error {
		if parts++; parts%8 == 0 {
			var s runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&s)
			peak.Store(max(peak.Load(), s.HeapAlloc))
		}
		return nil
	}
	r.start(t)
	pgtest.Exec(t, url, "insert into big select g, repeat(md5(g::text), 30) from generate_series(1, 40000) g")
	r.wait(t, func(done []receivedTx) bool { return len(done) == 1 })
	done, _ := r.memory.transactions()
	if done[0].rows != 40000 || done[0].parts < 30 || r.memory.largest > 1<<20 {
		t.Errorf("transaction is %+v with parts of up to %d bytes", done[0], r.memory.largest)
	}
	if p := peak.Load(); p == 0 || p > 30<<20 {
		t.Errorf("heap grew to %d bytes", p)
	}
}

func TestIdleSlotAdvances(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		url, busy := pgtest.Database(t, major), pgtest.Database(t, major)
		r := newRig(t, url, nil)
		r.start(t)
		pgtest.Exec(t, busy, "create table noise(t text)", "insert into noise select repeat('x', 500) from generate_series(1, 5000)")
		end := currentLSN(t, busy)
		pgtest.Exec(t, busy, "insert into noise values ('y')")
		until(t, "the slot of the idle database advances", func() bool { return r.confirmed(t) >= end })
		if done, _ := r.memory.transactions(); len(done) != 0 {
			t.Errorf("%d transactions of nothing", len(done))
		}
	})
}

func TestPrimaryStopsFast(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		c := pgtest.Start(t, throwaway.Options{Major: major})
		url := c.URL("postgres")
		pgtest.Exec(t, url, "create table a(id int primary key)")
		r := newRig(t, url, nil)
		r.start(t)
		pgtest.Exec(t, url, "insert into a select generate_series(1, 1000)")
		r.marker(t)
		began := time.Now()
		if err := c.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d > 10*time.Second {
			t.Errorf("the primary took %v to stop", d)
		}
		until(t, "capture notices", func() bool { return !r.capture.State().Connected })
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		pgtest.Exec(t, url, "insert into a values (2000)")
		r.marker(t)
		r.compare(t)
	})
}

func TestPrimaryCrashes(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		c := pgtest.Start(t, throwaway.Options{Major: major})
		url := c.URL("postgres")
		pgtest.Exec(t, url, "create table a(id serial primary key, t text)")
		r := newRig(t, url, nil)
		r.start(t)
		for range 2 {
			load := make(chan struct{})
			go func() {
				defer close(load)
				conn, err := pgx.Connect(context.Background(), url)
				if err != nil {
					return
				}
				defer conn.Close(context.Background())
				for err == nil {
					_, err = conn.Exec(context.Background(), "insert into a(t) select repeat('x', 100) from generate_series(1, 50)")
				}
			}()
			before, _ := r.memory.transactions()
			r.wait(t, func(done []receivedTx) bool { return len(done) > len(before)+20 })
			if err := c.Crash(t.Context()); err != nil {
				t.Fatal(err)
			}
			<-load
			if err := c.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		r.marker(t)
		r.compare(t)
	})
}

func TestNeverAcknowledgesBeyondDurable(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		url, other := pgtest.Database(t, major), pgtest.Database(t, major)
		pgtest.Exec(t, url, "create table a(id int primary key)")
		r := newRig(t, url, nil)
		r.memory.withhold = true
		before := r.confirmed(t)
		r.start(t)
		pgtest.Exec(t, url, "insert into a values (1)")
		r.wait(t, func(done []receivedTx) bool { return len(done) == 1 })
		done, _ := r.memory.transactions()
		// Other databases move the keepalives' position far beyond; several rounds of timer and keepalive pass.
		pgtest.Exec(t, other, "create table noise(t text)", "insert into noise select repeat('x', 500) from generate_series(1, 5000)")
		asked := r.capture.State().LastMessage
		until(t, "two rounds of keepalives", func() bool { return r.capture.State().LastMessage.Sub(asked) > 2*time.Second })
		if c := r.confirmed(t); c < before || c >= done[0].end {
			t.Fatalf("slot confirms %s although %s is not durable", c, done[0].end)
		}
		if s := r.capture.State(); s.Acknowledged >= done[0].end || s.WALEnd <= done[0].end {
			t.Errorf("state is %+v", s)
		}
		// Stopping does not acknowledge it either.
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		if c := r.confirmed(t); c >= done[0].end {
			t.Fatalf("stopping confirmed %s although %s is not durable", c, done[0].end)
		}
		r.start(t)
		r.memory.release()
		end := currentLSN(t, url)
		until(t, "everything is acknowledged after release", func() bool { return r.confirmed(t) >= end })
		if done, _ := r.memory.transactions(); len(done) != 1 {
			t.Errorf("%d transactions, want the one", len(done))
		}
	})
}

func TestTerminatedWithinTransaction(t *testing.T) {
	url := pgtest.Database(t, 0)
	pgtest.Exec(t, url, "create table big(id int primary key, t text)")
	r := newRig(t, url, nil)
	reached, goOn := make(chan struct{}), make(chan struct{})
	parts := 0
	r.memory.before = func(a segment.Append) error {
		if a.Frame.IsFrontier() {
			return nil
		}
		if parts++; parts == 5 {
			close(reached)
			<-goOn
		}
		return nil
	}
	r.start(t)
	pgtest.Exec(t, url, "insert into big select g, repeat(md5(g::text), 30) from generate_series(1, 40000) g")
	<-reached
	pgtest.Exec(t, url, "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '"+r.cfg.Source.Slot+"'")
	// The server cannot end before we read on: it wants to tell us. The rest of the transaction is far larger than what
	// stands in buffers.
	close(goOn)
	r.marker(t)
	r.compare(t)
	if r.memory.discards != 1 {
		t.Errorf("discarded %d times, want once", r.memory.discards)
	}
}
