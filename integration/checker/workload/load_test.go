package workload

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"tidemark/internal/postgres/pgtest"
	"tidemark/internal/postgres/throwaway"
)

var (
	discard  = slog.New(slog.DiscardHandler)
	clusters = map[int]*throwaway.Cluster{} // by major version; 0 is the installed one
	mu       sync.Mutex
)

func TestMain(m *testing.M) { os.Exit(main(m)) }

func main(m *testing.M) int {
	code := m.Run()
	errs := []error{goleak.Find(goleak.IgnoreAnyFunction("tidemark/internal/postgres/throwaway.startProcess.func1"))}
	for _, c := range clusters {
		errs = append(errs, c.Remove())
	}
	if err := errors.Join(errs...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// server gives a server that the tests share, and the URL of a database with the workload's tables.
func server(t *testing.T, major int) (c *throwaway.Cluster, url string) {
	t.Helper()
	mu.Lock()
	defer mu.Unlock()
	c, ok := clusters[major]
	if !ok {
		var err error
		c, err = throwaway.New(t.Context(), throwaway.Options{Major: major, Settings: map[string]string{"max_prepared_transactions": "64", "logical_decoding_work_mem": "'64kB'",
			"log_min_error_statement": "panic"}})
		if err != nil {
			t.Fatal(err)
		}
		clusters[major] = c
	}
	url = pgtest.DatabaseOn(t, c)
	if err := Schema(t.Context(), pgtest.Connect(t, url)); err != nil {
		t.Fatal(err)
	}
	return c, url
}

// running is a load in the background.
type running struct {
	*Load
	stop func() error
}

func start(t *testing.T, cfg Config) running {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = discard
	}
	l := New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	stop := sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return running{Load: l, stop: stop}
}

func query[T any](t *testing.T, conn *pgx.Conn, sql string, args ...any) T {
	t.Helper()
	var out T
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&out); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return out
}

func TestEveryKind(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		_, url := server(t, major)
		t.Parallel()
		conn := pgtest.Connect(t, url)
		pgtest.Exec(t, url, "select pg_create_logical_replication_slot('reference', 'test_decoding')")
		var mu sync.Mutex
		codes := map[string]int{}
		begin := time.Now()
		l := start(t, Config{URL: url, Seed: 7, Sessions: 8, Journal: func(e Entry) {
			mu.Lock()
			defer mu.Unlock()
			if e.Code != "" {
				codes[e.Kind+" "+e.Code]++
			}
		}})
		until(t, l, "every kind commits", func(counts map[string]int) bool {
			return time.Since(begin) > 5*time.Second && !slices.ContainsFunc(Kinds(), func(name string) bool { return counts["acked/"+name] == 0 })
		})
		if err := l.stop(); err != nil {
			t.Fatal(err)
		}
		counts := l.Counts()
		for _, name := range slices.Sorted(maps.Keys(counts)) {
			t.Log(name, counts[name])
		}
		t.Log(codes)
		all := counts["transactions/acked"] + counts["transactions/aborted"]
		t.Logf("%.0f transactions a second", float64(all)/time.Since(begin).Seconds())
		if counts["transactions/unknown"] != 0 {
			t.Errorf("%d transactions are unknown", counts["transactions/unknown"])
		}
		if n := counts["transactions/aborted"]; n > all/3 {
			t.Errorf("%d of %d transactions aborted", n, all)
		}
		if err := l.Verify(t.Context(), conn); err != nil {
			t.Error(err)
		}
		small(t, conn)
		if n := query[int](t, conn, "select count(*) from pg_prepared_xacts"); n != 0 {
			t.Errorf("%d transactions are still prepared", n)
		}
		adjacent(t, conn)
	})
}

// small: no table is big, and none of the shapes stays empty.
func small(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	rows, err := conn.Query(t.Context(), "select format('%I.%I', schemaname, relname) from pg_stat_user_tables order by 1")
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(names) < 25 {
		t.Fatalf("%d tables, %v", len(names), err)
	}
	sizes := map[string]int{}
	for _, name := range names {
		sizes[name] = query[int](t, conn, "select count(*) from "+name)
		if sizes[name] > 3000 {
			t.Errorf("%s has %d rows", name, sizes[name])
		}
	}
	t.Log(sizes)
}

// adjacent: the slot's consumer saw commit records that begin where another ends, equal commit times, and times that run backwards.
func adjacent(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	rows, err := conn.Query(t.Context(), "select data from pg_logical_slot_get_changes('reference', null, null, 'include-timestamp', '1') where data like 'COMMIT%'")
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	ties, back, last := 0, 0, ""
	for _, data := range list {
		_, at, _ := strings.Cut(data, "(at ")
		if at == last {
			ties++
		}
		if at < last {
			back++
		}
		last = at
	}
	t.Logf("%d commits, %d equal times, %d backwards", len(list), ties, back)
	if ties == 0 || back == 0 {
		t.Error("commit times are never equal, or never run backwards")
	}
}
