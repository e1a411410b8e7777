package standby

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"tidemark/internal/apply"
	"tidemark/internal/position"
	"tidemark/internal/postgres/pgtest"
	"tidemark/internal/sink"
	"tidemark/internal/sink/sinktest"
)

func TestMain(m *testing.M) {
	code := pgtest.Main(m)
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

const stream = "7000000000000000001/app"

// seeded makes a database with a progress row at lsn.
func seeded(t *testing.T, major int, lsn position.LSN, ddl ...string) string {
	t.Helper()
	url := pgtest.Database(t, major)
	conn := pgtest.Connect(t, url)
	if err := apply.Migrate(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	if err := apply.SetProgress(t.Context(), conn, stream, lsn, 0); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, url, ddl...)
	return url
}

func newSink(t *testing.T, cfg Config) *Sink {
	t.Helper()
	s, err := New(cfg, stream, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

// target is a standby database for the conformance suite.
type target struct{ url string }

func (d target) Sink(t *testing.T) sink.Sink { return newSink(t, Config{URL: d.url, BatchRows: 3}) }

func (d target) Kill(t *testing.T, s sink.Sink) {
	t.Helper()
	pgtest.Exec(t, d.url, "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = '"+Name+"'")
	_ = s.Close(t.Context()) // gives memory back; its session is gone
}

func (d target) Effects(t *testing.T) []position.Position {
	t.Helper()
	rows, err := pgtest.Connect(t, d.url).Query(t.Context(), "select position from public.sinktest union all select position from public.sinktest_other")
	if err != nil {
		t.Fatal(err)
	}
	var out []position.Position
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		p, err := position.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	if rows.Err() != nil {
		t.Fatal(rows.Err())
	}
	sortPositions(out)
	return out
}

func TestConformance(t *testing.T) {
	major := pgtest.Majors(t)[0]
	sinktest.Run(t, sinktest.Harness{New: func(t *testing.T) sinktest.Target {
		return target{seeded(t, major, 0, "create table public.sinktest(position text primary key, note text)", "create table public.sinktest_other(position text primary key)")}
	}})
}

func sortPositions(p []position.Position) {
	slices.SortFunc(p, position.Position.Compare)
}
