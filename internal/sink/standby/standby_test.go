package standby

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"tidemark/internal/apply"
	"tidemark/internal/apply/applytest"
	"tidemark/internal/position"
	"tidemark/internal/postgres/pgtest"
	"tidemark/internal/segment"
	"tidemark/internal/sink"
	"tidemark/internal/sink/sinktest"
)

const table = "create table a(id int primary key, v text, big text)"

// commits counts the target transactions of a table by their inserting transaction ids.
func commits(t *testing.T, url string) (n int) {
	t.Helper()
	if err := pgtest.Connect(t, url).QueryRow(t.Context(), "select count(distinct xmin::text) from a").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestFromSlot applies what a real source sends, in calls of every size.
func TestFromSlot(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		url := pgtest.Database(t, major)
		pgtest.Exec(t, url, table)
		source := applytest.NewSource(t, url, "")
		source.Parts = 4
		pgtest.Exec(t, url, "insert into a select i, 'x', repeat('y', i) from generate_series(1, 30) i", "update a set v = v || id where id % 2 = 0",
			"begin; update a set id = -id; delete from a where id < -20; commit", "alter table a add extra int", "insert into a values (1, 'again', null, 7)", "insert into a values (2, 'again', null, null)")
		frames := source.Frames(t)
		for size := 1; size <= len(frames); size += 3 {
			target := seeded(t, major, 1, table, "alter table a add extra int")
			s := newSink(t, Config{URL: target})
			if reached, err := s.Open(t.Context()); err != nil || reached.Stored != 1 {
				t.Fatalf("open: %+v, %v", reached, err)
			}
			var reached sink.Reached
			var complete position.LSN
			for rest := frames; len(rest) > 0; {
				n := min(size, len(rest))
				for _, f := range rest[:n] {
					if f.Last {
						complete = f.End
					}
				}
				var err error
				if reached, err = s.Apply(t.Context(), rest[:n]); err != nil {
					t.Fatal(err)
				}
				if complete != 0 && reached.Stored != complete {
					t.Fatalf("reached %s behind a transaction that ends at %s", reached.Stored, complete)
				}
				rest = rest[n:]
			}
			applytest.Compare(t, applytest.Connect(t, url), applytest.Connect(t, target))
			if err := s.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			pgtest.Exec(t, target, "drop table a") // so that a repetition would fail
			if again, err := s.Open(t.Context()); err != nil || again != reached {
				t.Fatalf("reopened at %+v, %v; want %+v", again, err, reached)
			}
			if again, err := s.Apply(t.Context(), frames); err != nil || again != reached {
				t.Fatalf("frames that are there already: %+v, %v", again, err)
			}
			_ = s.Close(t.Context())
		}
	})
}

// TestBatches counts target transactions: small ones share one up to BatchRows, a long one has its own.
func TestBatches(t *testing.T) {
	url := pgtest.Database(t, 0)
	pgtest.Exec(t, url, table)
	source := applytest.NewSource(t, url, "")
	for range 3 {
		pgtest.Exec(t, url, "insert into a(id) select coalesce(max(id), 0) + 1 from a", "insert into a(id) select max(id) + 1 from a")
	}
	frames := source.Frames(t)
	for batch, want := range map[int]int{0: 1, 1: 6, 2: 3, 4: 2, 100: 1} {
		target := seeded(t, 0, 1, table)
		s := newSink(t, Config{URL: target, BatchRows: batch})
		if _, err := s.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Apply(t.Context(), frames); err != nil {
			t.Fatal(err)
		}
		if n := commits(t, target); n != want {
			t.Errorf("batch_rows %d: %d target transactions, want %d", batch, n, want)
		}
	}
	source.Parts = 2
	pgtest.Exec(t, url, "insert into a(id) select i from generate_series(100, 109) i")
	frames = append(frames, source.Frames(t)...)
	target := seeded(t, 0, 1, table)
	s := newSink(t, Config{URL: target})
	if _, err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(t.Context(), frames); err != nil {
		t.Fatal(err)
	}
	if n := commits(t, target); n != 2 {
		t.Errorf("a long transaction behind small ones: %d target transactions, want 2", n)
	}
}

// TestErrors holds every class of error against what the Runner must do with it.
func TestErrors(t *testing.T) {
	row := func(end position.LSN) []segment.Frame {
		return append([]segment.Frame{sinktest.Rows.Define()}, sinktest.Transaction(end, sinktest.Part{sinktest.Rows})...)
	}
	const good = "create table public.sinktest(position text primary key, note text)"
	for _, c := range []struct {
		name      string
		ddl       string
		foul      string // after Open
		frames    []segment.Frame
		permanent bool
		want      string
	}{
		{name: "table is missing", ddl: "select 1", frames: row(0x100), want: "public.sinktest on the target: is missing"},
		{name: "row is there", ddl: good + "; insert into sinktest values ('0/100:0')", frames: row(0x100), want: "23505"},
		{name: "fenced", ddl: good, foul: "update tidemark.progress set end_lsn = '0/2'", frames: row(0x100), permanent: true, want: "progress row"},
		{name: "connection is lost", ddl: good, foul: "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = '" + Name + "'", frames: row(0x100), want: "57P01"},
		{name: "definition is malformed", ddl: good, frames: []segment.Frame{{Kind: segment.Definition, Payload: []byte{1, 'R'}}}, permanent: true, want: "definition"},
		{name: "relation is unknown", ddl: good, frames: sinktest.Transaction(0x100, sinktest.Part{sinktest.Rows}), permanent: true, want: "0/100"},
		{name: "part without its first", ddl: good, frames: sinktest.Transaction(0x100, sinktest.Part{sinktest.Rows}, sinktest.Part{sinktest.Rows})[1:], permanent: true, want: "part 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := seeded(t, 0, 1, c.ddl)
			s := newSink(t, Config{URL: url})
			if _, err := s.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
			if c.foul != "" {
				pgtest.Exec(t, url, c.foul)
			}
			_, err := s.Apply(t.Context(), c.frames)
			if err == nil || sink.IsPermanent(err) != c.permanent || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "note of") {
				t.Fatalf("permanent %v: %v", sink.IsPermanent(err), err)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	url := pgtest.Database(t, 0)
	s := newSink(t, Config{URL: url})
	if _, err := s.Open(t.Context()); err == nil || sink.IsPermanent(err) || !strings.Contains(err.Error(), "tidemark snapshot standby") {
		t.Errorf("a standby without a copy: %v", err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := apply.SetProgress(t.Context(), pgtest.Connect(t, url), "other/db", 5, 0); err != nil {
		t.Fatal(err)
	}
	var stream *apply.StreamError
	if _, err := s.Open(t.Context()); !sink.IsPermanent(err) || !errors.As(err, &stream) {
		t.Errorf("a standby of another source: %v", err)
	}
	rights := newSink(t, Config{URL: noRights(t, url)})
	var missing *apply.RightsError
	if _, err := rights.Open(t.Context()); !sink.IsPermanent(err) || !errors.As(err, &missing) {
		t.Errorf("a role without rights: %v", err)
	}
	down := newSink(t, Config{URL: "postgres://nobody:pass-word@127.0.0.1:1/none?sslmode=disable"})
	if _, err := down.Open(t.Context()); err == nil || sink.IsPermanent(err) || strings.Contains(err.Error(), "pass-word") {
		t.Errorf("a standby that is down: %v", err)
	}
	if _, err := down.Apply(t.Context(), nil); err == nil {
		t.Error("a sink that is not open applies")
	}
}

// noRights makes a role that may only connect, and gives its URL.
func noRights(t *testing.T, url string) string {
	t.Helper()
	pgtest.Exec(t, url, "create role nothing login password 'nothing'")
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		if _, err := conn.Exec(context.Background(), "drop role nothing"); err != nil {
			t.Error(err)
		}
	})
	_, rest, _ := strings.Cut(url, "@")
	return "postgres://nothing:nothing@" + rest
}

func TestConfig(t *testing.T) {
	for _, c := range []Config{{}, {URL: "x", BatchRows: -1}, {URL: "x", DDL: "maybe"}} {
		if err := c.Validate(); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
	for _, ddl := range []string{"", "stop", "apply", "ignore"} {
		if err := (Config{URL: "x", DDL: ddl}).Validate(); err != nil {
			t.Error(err)
		}
	}
	if c := (Config{}).WithDefaults(); c.BatchRows != 10000 || c.DDL != "stop" {
		t.Errorf("defaults are %+v", c)
	}
	if _, err := New(Config{URL: "x"}, "", nil); err == nil {
		t.Error("a sink without a stream is made")
	}
}
