// Package pgtest gives tests real PostgreSQL servers: one throw-away cluster per test binary and version, a fresh
// database per test.
package pgtest

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"tidemark/internal/postgres"
	"tidemark/internal/postgres/throwaway"
)

var (
	mu      sync.Mutex
	shared  = map[int]*throwaway.Cluster{}
	counter int
)

// Main runs a test binary's tests and then removes the clusters that they shared. Call it from TestMain:
// os.Exit(pgtest.Main(m)).
func Main(m *testing.M) int {
	code := m.Run()
	mu.Lock()
	defer mu.Unlock()
	for _, c := range shared {
		if err := c.Remove(); err != nil {
			fmt.Fprintln(os.Stderr, "remove cluster:", err)
			code = 1
		}
	}
	return code
}

// Majors returns the versions that tests run on: $TIDEMARK_TEST_PG ("15 17"), or the installed one and 17.
func Majors(t testing.TB) []int {
	t.Helper()
	if list := os.Getenv("TIDEMARK_TEST_PG"); list != "" {
		var out []int
		for s := range strings.FieldsSeq(list) {
			n, err := strconv.Atoi(s)
			if err != nil {
				t.Fatalf("TIDEMARK_TEST_PG: %q is not a major version", s)
			}
			out = append(out, n)
		}
		return out
	}
	_, installed, err := throwaway.Find(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if installed == 17 {
		return []int{17}
	}
	return []int{installed, 17}
}

// Each runs a test once per version of Majors.
func Each(t *testing.T, test func(t *testing.T, major int)) {
	for _, major := range Majors(t) {
		t.Run("pg"+strconv.Itoa(major), func(t *testing.T) { test(t, major) })
	}
}

// Start starts a cluster of the test's own, for tests that stop or reconfigure servers. Major 0 is the installed one.
func Start(t testing.TB, opts throwaway.Options) *throwaway.Cluster {
	t.Helper()
	c, err := throwaway.New(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			if b, err := os.ReadFile(c.LogFile()); err == nil {
				t.Logf("server log of PostgreSQL %d:\n%s", c.Major, tail(b, 4000))
			}
		}
		if err := c.Remove(); err != nil {
			t.Errorf("remove cluster: %v", err)
		}
	})
	return c
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// Shared returns the test binary's cluster of a version (0: installed), started at first use. TestMain must use Main.
func Shared(t testing.TB, major int) *throwaway.Cluster {
	t.Helper()
	mu.Lock()
	defer mu.Unlock()
	if c, ok := shared[major]; ok {
		return c
	}
	c, err := throwaway.New(context.Background(), throwaway.Options{Major: major})
	if err != nil {
		t.Fatal(err)
	}
	shared[major] = c
	return c
}

// Database makes a fresh database on the shared cluster and returns its URL; it is dropped after the test.
func Database(t testing.TB, major int) string {
	t.Helper()
	return DatabaseOn(t, Shared(t, major))
}

// DatabaseOn makes a fresh database on a cluster.
func DatabaseOn(t testing.TB, c *throwaway.Cluster) string {
	t.Helper()
	mu.Lock()
	counter++
	name := fmt.Sprintf("test_%d", counter)
	mu.Unlock()
	Exec(t, c.URL("postgres"), "create database "+name)
	t.Cleanup(func() {
		ctx := context.Background()
		conn, err := postgres.Connect(ctx, c.URL("postgres"), "pgtest")
		if err != nil {
			return // the test stopped the server
		}
		defer conn.Close(ctx)
		_, _ = conn.Exec(ctx, "select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = $1 and not active", name)
		_, _ = conn.Exec(ctx, "drop database "+name+" with (force)")
	})
	return c.URL(name)
}

// Exec runs statements over a connection of their own; several in one string are one transaction.
func Exec(t testing.TB, url string, statements ...string) {
	t.Helper()
	conn := Connect(t, url)
	for _, s := range statements {
		if _, err := conn.Exec(t.Context(), s, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Connect opens an application's session, without any setting of ours; it is closed after the test.
func Connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}
