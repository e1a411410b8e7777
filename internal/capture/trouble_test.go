package capture

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tidemark/internal/postgres/pgtest"
	"tidemark/internal/postgres/throwaway"
	"tidemark/internal/progress"
	"tidemark/internal/segment"
	"tidemark/internal/source"
)

// TestFullJournal holds the reader for longer than the server waits for a silent client.
func TestFullJournal(t *testing.T) {
	c := pgtest.Start(t, throwaway.Options{Settings: map[string]string{"wal_sender_timeout": "'2s'"}})
	url := c.URL("postgres")
	pgtest.Exec(t, url, "create table a(id int primary key, t text)")
	r := newRig(t, url, nil)
	var room atomic.Bool
	r.memory.before = func(segment.Append) error {
		if room.Load() {
			return nil
		}
		return fmt.Errorf("append: %w", errNoRoom{})
	}
	r.start(t)
	pgtest.Exec(t, url, "insert into a select g, repeat('x', 1000) from generate_series(1, 20000) g")
	until(t, "the journal is full", func() bool { return r.capture.State().Full })
	pid := activePID(t, r)
	time.Sleep(5 * time.Second) // more than twice wal_sender_timeout: nothing signals that a time limit did not strike
	if now := activePID(t, r); now != pid || now == 0 {
		t.Errorf("walsender is %d, was %d: the connection did not survive", now, pid)
	}
	room.Store(true)
	r.marker(t)
	r.compare(t)
	if r.capture.State().Full {
		t.Error("still full")
	}
}

// TestPrimaryStopsThoughHeld stops the source while nothing can be confirmed: because a copy of the acknowledge set is
// away, and because the journal is full and the reader stands still.
func TestPrimaryStopsThoughHeld(t *testing.T) {
	c := pgtest.Start(t, throwaway.Options{})
	url := c.URL("postgres")
	pgtest.Exec(t, url, "create table a(id int primary key, t text)") // without a sequence, which the heartbeat would record
	r := newRig(t, url, func(c *Config) { c.Acknowledge = []string{progress.Journal, progress.Archive} })
	var full atomic.Bool
	r.memory.before = func(segment.Append) error {
		if full.Load() {
			return errNoRoom{}
		}
		return nil
	}
	r.start(t)
	stop := func(why string) {
		t.Helper()
		src := r.cfg.Source
		src.Heartbeat = time.Minute // it does not wait for its next beat to notice
		heartbeat := source.NewHeartbeat(src, r.cfg.Log, nil)
		heartbeat.OnShutdown(r.capture.Leave)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		beats := make(chan error, 1)
		go func() { beats <- heartbeat.Run(ctx) }()
		defer func() { cancel(); <-beats }()
		until(t, "the heartbeat beats", func() bool { return heartbeat.Status().Connected })
		began := time.Now()
		if err := c.Stop(ctx); err != nil {
			t.Fatalf("%s: %v", why, err)
		}
		if d := time.Since(began); d > 10*time.Second {
			t.Errorf("%s: the primary took %v to stop", why, d)
		}
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		until(t, "capture is back", func() bool { return r.capture.State().Connected })
	}
	r.marker(t)
	stop("archive away")
	full.Store(true)
	pgtest.Exec(t, url, "insert into a select g, repeat('x', 1000) from generate_series(1, 20000) g")
	until(t, "the journal is full", func() bool { return r.capture.State().Full })
	stop("journal full")
	full.Store(false)
	r.marker(t)
	r.compare(t)
}

func activePID(t *testing.T, r *rig) (pid int) {
	t.Helper()
	if err := pgtest.Connect(t, r.url).QueryRow(t.Context(), "select coalesce(active_pid, 0) from pg_replication_slots where slot_name = $1", r.cfg.Source.Slot).Scan(&pid); err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestAppendErrorIsFatal(t *testing.T) {
	url := pgtest.Database(t, 0)
	pgtest.Exec(t, url, "create table a(id int primary key)")
	r := newRig(t, url, nil)
	broken := errors.New("disk is gone")
	r.memory.before = func(segment.Append) error { return broken }
	pgtest.Exec(t, url, "insert into a values (1)")
	err := r.capture.Loop(t.Context())
	if !errors.Is(err, ErrFatal) || !errors.Is(err, broken) {
		t.Errorf("loop ends with %v", err)
	}
	if r.memory.discards != 0 {
		t.Error("the journal was touched after an unknown outcome")
	}
}

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		sql    func(*rig) string
		want   string
	}{
		"other cluster":    {change: func(c *Config) { c.Journal.SystemID = "1" }, want: "another cluster"},
		"journal ahead":    {change: func(c *Config) { c.Start += 1 << 30 }, want: "beyond the end"},
		"journal behind":   {change: func(c *Config) { c.Start = 1 }, want: "will not send"},
		"slot gone":        {sql: func(r *rig) string { return "select pg_drop_replication_slot('" + r.cfg.Source.Slot + "')" }, want: "does not exist"},
		"publication gone": {sql: func(*rig) string { return "drop publication tidemark" }, want: "publication"},
	} {
		t.Run(name, func(t *testing.T) {
			url := pgtest.Database(t, 0)
			r := newRig(t, url, c.change)
			if c.sql != nil {
				pgtest.Exec(t, url, c.sql(r))
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			err := r.capture.Loop(ctx)
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("loop ends with %v, want %q", err, c.want)
			}
		})
	}
}

func TestPublicationDroppedWhileStreaming(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		url := pgtest.Database(t, major)
		pgtest.Exec(t, url, "create table a(id int primary key)")
		r := newRig(t, url, nil)
		ended := make(chan error, 1)
		go func() { ended <- r.capture.Loop(t.Context()) }()
		until(t, "it streams", func() bool { return r.capture.State().Connected })
		pgtest.Exec(t, url, "drop publication tidemark", "insert into a values (1)")
		select {
		case err := <-ended:
			if !errors.Is(err, ErrRefused) {
				t.Errorf("loop ends with %v", err)
			}
		case <-time.After(30 * time.Second):
			t.Error("a dropped publication goes unnoticed")
		}
	})
}

func TestWaitsForActiveSlot(t *testing.T) {
	url := pgtest.Database(t, 0)
	pgtest.Exec(t, url, "create table a(id int primary key)")
	r := newRig(t, url, nil)
	r.memory.withhold = true // so that the slot stays where the second expects it
	r.start(t)
	until(t, "the first streams", func() bool { return r.capture.State().Connected })
	second, err := New(Config{Source: r.cfg.Source, Journal: r.cfg.Journal, Start: r.cfg.Start, Confirmed: r.cfg.Confirmed,
		Appender: r.memory, Board: r.board, Log: r.cfg.Log})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Run(t.Context()); err == nil || errors.Is(err, ErrRefused) || errors.Is(err, ErrFatal) || !strings.Contains(err.Error(), "is active for PID") {
		t.Errorf("the second ends with %v", err)
	}
}

func TestUnreachableSourceIsTransient(t *testing.T) {
	c := pgtest.Start(t, throwaway.Options{})
	r := newRig(t, c.URL("postgres"), nil)
	if err := c.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.capture.Run(t.Context()); err == nil || errors.Is(err, ErrRefused) || errors.Is(err, ErrFatal) {
		t.Errorf("run ends with %v", err)
	}
}
