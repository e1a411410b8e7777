package pgtest

import (
	"os"
	"testing"

	"tidemark/internal/postgres/throwaway"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

func TestDatabase(t *testing.T) {
	url := Database(t, 0)
	Exec(t, url, "create table a(i int)", "insert into a values (1)")
	var n int
	if err := Connect(t, url).QueryRow(t.Context(), "select count(*) from a").Scan(&n); err != nil || n != 1 {
		t.Fatalf("count is %d, %v", n, err)
	}
}

func TestCrashAndStart(t *testing.T) {
	c := Start(t, throwaway.Options{Settings: map[string]string{"wal_level": "replica"}})
	if err := c.Crash(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	var level string
	if err := Connect(t, c.URL("postgres")).QueryRow(t.Context(), "show wal_level").Scan(&level); err != nil || level != "replica" {
		t.Fatalf("wal_level is %q, %v", level, err)
	}
}
