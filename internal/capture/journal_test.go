package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"tidemark/internal/journal"
	"tidemark/internal/pgoutput"
	"tidemark/internal/position"
	"tidemark/internal/postgres/pgtest"
	"tidemark/internal/progress"
	"tidemark/internal/segment"
	"tidemark/internal/source"
	"tidemark/internal/vfs"
)

// TestIntoJournal writes into the real journal under load, while the walsender is terminated and the service starts
// anew, each time behind the gate, and holds what the journal has against the oracle.
func TestIntoJournal(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		url := pgtest.Database(t, major)
		pgtest.Exec(t, url, "create table a(id serial primary key, t text)", "create table big(id int primary key, t text)")
		r := newRig(t, url, nil)
		dir := t.TempDir()
		var committed atomic.Int64
		load, endLoad := context.WithCancel(context.Background())
		loaded := make(chan struct{})
		go func() {
			defer close(loaded)
			conn, err := pgx.Connect(context.Background(), url)
			for err == nil && load.Err() == nil {
				_, err = conn.Exec(context.Background(), "insert into a(t) select repeat('x', 100) from generate_series(1, 20)")
				committed.Add(1)
			}
			_ = conn.Close(context.Background())
		}()
		defer func() { endLoad(); <-loaded }()
		for round := range 3 {
			j, c := openRound(t, r, dir)
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- c.Loop(ctx) }()
			from := committed.Load()
			until(t, "load goes on", func() bool { return committed.Load() > from+20 && c.State().Connected })
			pgtest.Exec(t, url, fmt.Sprintf("insert into big select g, repeat(md5(g::text), 30) from generate_series(%d, %d) g", round*5000+1, round*5000+5000))
			pgtest.Exec(t, url, "select pg_terminate_backend(active_pid) from pg_replication_slots where active_pid is not null and slot_name = '"+r.cfg.Source.Slot+"'")
			if round == 2 {
				endLoad()
				<-loaded
				want := oracle(t, url, r.oracle)
				until(t, "the journal has everything", func() bool { return c.State().Received >= want[len(want)-1].end })
			}
			cancel()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if err := j.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		r.memory.done = readJournal(t, dir)
		r.compare(t)
	})
}

// openRound does what the service does at its start.
func openRound(t *testing.T, r *rig, dir string) (*journal.Journal, *Capture) {
	t.Helper()
	var known source.Identity
	var end position.LSN
	view, err := journal.OpenReadOnly(vfs.OS{}, dir)
	switch {
	case err == nil:
		id := view.Identity()
		known, end = source.Identity{SystemID: id.SystemID, Timeline: id.Timeline, Database: id.Database, Generation: id.Generation}, view.End()
	case !errors.Is(err, journal.ErrEmpty):
		t.Fatal(err)
	}
	gate, err := source.Gate(t.Context(), r.cfg.Source, known, end)
	if err != nil {
		t.Fatal(err)
	}
	board := progress.New()
	j, err := journal.Open(vfs.OS{}, journal.Config{Dir: dir, SegmentSize: 4 << 20}, journal.Identity{
		SystemID: gate.Identity.SystemID, Timeline: gate.Identity.Timeline, Database: gate.Identity.Database,
		ServerVersion: int(gate.Identity.ServerVersion), Slot: r.cfg.Source.Slot, Generation: gate.Identity.Generation,
	}, gate.LSN, board, nil, r.cfg.Log)
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(Config{Source: r.cfg.Source, Journal: gate.Identity, Start: j.End(), Confirmed: gate.Confirmed, Appender: j, Board: board, Log: r.cfg.Log})
	if err != nil {
		t.Fatal(err)
	}
	return j, c
}

// readJournal decodes everything in a closed journal and lists its transactions.
func readJournal(t *testing.T, dir string) (out []receivedTx) {
	t.Helper()
	view, err := journal.OpenReadOnly(vfs.OS{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	reader, err := view.Read(0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	d := pgoutput.NewDecoder()
	var open receivedTx
	for {
		f, err := reader.Next(ctx)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if f.Kind == segment.Definition {
			if err := d.Define(f.Payload); err != nil {
				t.Fatal(err)
			}
			continue
		}
		for _, err := range d.Rows(&f) {
			if err != nil {
				t.Fatal(err)
			}
			open.rows++
		}
		if f.Last && !f.IsFrontier() {
			open.end = f.End
			out = append(out, open)
		}
		if f.Last {
			open = receivedTx{}
		}
	}
}
