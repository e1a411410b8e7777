package pgoutput

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"tidemark/internal/position"
	"tidemark/internal/postgres"
	"tidemark/internal/postgres/pgtest"
	"tidemark/internal/segment"
)

var update = flag.Bool("update", false, "record testdata/corpus anew from the servers of TIDEMARK_TEST_PG")

// corpus gives the recorded messages of all servers.
func corpus(t testing.TB) [][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/corpus/*.bin")
	if err != nil || len(files) == 0 {
		t.Fatalf("find corpus: %v, %d files", err, len(files))
	}
	var out [][]byte
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for msg, err := range segment.Messages(b) {
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, msg)
		}
	}
	return out
}

// tour records all messages of testdata/tour.sql on a fresh database.
func tour(t *testing.T, url string) [][]byte {
	t.Helper()
	script, err := os.ReadFile("testdata/tour.sql")
	if err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, url, "create publication tour for all tables")
	conn, start := openSlot(t, url)
	app := pgtest.Connect(t, url)
	for _, tx := range strings.Split(string(script), "\n\n")[1:] {
		if _, err := app.Exec(t.Context(), tx, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", tx, err)
		}
	}
	var last string
	if err := app.QueryRow(t.Context(), "select pg_current_wal_insert_lsn()::text").Scan(&last); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, url, "insert into nothing values (99, 'the end')")
	end, err := position.ParseLSN(last)
	if err != nil {
		t.Fatal(err)
	}
	return receive(t, conn, start, end)
}

func openSlot(t *testing.T, url string) (*pgconn.PgConn, pglogrepl.LSN) {
	t.Helper()
	conn, err := postgres.ConnectReplication(t.Context(), url, "tour")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	slot, err := pglogrepl.CreateReplicationSlot(t.Context(), conn, "tour", "pgoutput",
		pglogrepl.CreateReplicationSlotOptions{Temporary: true, Mode: pglogrepl.LogicalReplication})
	if err != nil {
		t.Fatal(err)
	}
	start, err := pglogrepl.ParseLSN(slot.ConsistentPoint)
	if err != nil {
		t.Fatal(err)
	}
	return conn, start
}

// receive reads messages up to the first transaction that commits at or behind end.
func receive(t *testing.T, conn *pgconn.PgConn, start pglogrepl.LSN, end position.LSN) [][]byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := pglogrepl.StartReplication(ctx, conn, "tour", start, pglogrepl.StartReplicationOptions{
		Mode: pglogrepl.LogicalReplication, PluginArgs: []string{"proto_version '1'", "publication_names 'tour'"}})
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for {
		m, err := conn.ReceiveMessage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		data, ok := m.(*pgproto3.CopyData)
		if !ok {
			t.Fatalf("server sends %T", m)
		}
		if data.Data[0] != pglogrepl.XLogDataByteID {
			continue
		}
		msg := append([]byte(nil), data.Data[25:]...)
		out = append(out, msg)
		if msg[0] == KindCommit {
			c, err := ParseCommit(msg)
			if err != nil {
				t.Fatal(err)
			}
			if c.Commit >= end {
				return out
			}
		}
	}
}

func record(t *testing.T, major int, messages [][]byte) {
	t.Helper()
	var b []byte
	for _, msg := range messages {
		b = segment.AppendMessage(b, msg)
	}
	name := filepath.Join("testdata", "corpus", fmt.Sprintf("pg%d.bin", major))
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestCorpus says that the corpus holds every kind of message that a source sends us.
func TestCorpus(t *testing.T) {
	kinds := map[byte]int{}
	for _, msg := range corpus(t) {
		kinds[msg[0]]++
	}
	for _, kind := range []byte("BCORYIUDT") {
		if kinds[kind] < 2 {
			t.Errorf("%d messages of kind %c", kinds[kind], kind)
		}
	}
}
