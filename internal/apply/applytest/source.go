// Package applytest gives tests of applying what a real source sends: the messages of a logical slot as segment frames,
// and digests to compare two databases with.
package applytest

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"tidemark/internal/position"
	"tidemark/internal/postgres"
	"tidemark/internal/postgres/pgtest"
	"tidemark/internal/segment"
)

// Source is a database with a publication of all tables and a slot.
type Source struct {
	URL  string
	slot string
	conn *pgx.Conn
	// Parts bounds the changes of one part frame; 0 puts each transaction into one part.
	Parts uint32
	types [][]byte
}

// NewSource publishes all tables of a database, present and future, and makes a slot. options go into WITH (…) of the publication.
func NewSource(t testing.TB, url, options string) *Source {
	t.Helper()
	conn, err := postgres.Connect(t.Context(), url, "applytest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	s := &Source{URL: url, conn: conn}
	with := ""
	if options != "" {
		with = " with (" + options + ")"
	}
	pgtest.Exec(t, url, "create publication everything for all tables"+with)
	err = conn.QueryRow(t.Context(), "select slot_name from pg_create_logical_replication_slot('applytest_' || current_database(), 'pgoutput')").Scan(&s.slot)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Frames reads all that was committed since the last call.
func (s *Source) Frames(t testing.TB) []segment.Frame {
	t.Helper()
	rows, err := s.conn.Query(t.Context(), "select data from pg_logical_slot_get_binary_changes($1, null, null, 'proto_version', '1', 'publication_names', 'everything')", s.slot)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil {
		t.Fatal(err)
	}
	var out []segment.Frame
	var tx transaction
	for _, m := range messages {
		switch m[0] {
		case 'B':
			tx = transaction{limit: s.Parts, frame: segment.Frame{
				Kind: segment.Part, First: true, Commit: position.LSN(binary.BigEndian.Uint64(m[1:])),
				Time: position.Time(binary.BigEndian.Uint64(m[9:])), Xid: binary.BigEndian.Uint32(m[17:]),
			}}
		case 'C':
			out = append(out, tx.end(position.LSN(binary.BigEndian.Uint64(m[10:])))...)
		case 'Y':
			s.types = append(s.types, m)
		case 'R':
			tx.define(m, s.types)
			s.types = nil
		default:
			tx.row(m)
		}
	}
	return out
}

// transaction assembles the frames of one transaction.
type transaction struct {
	limit uint32
	frame segment.Frame
	out   []segment.Frame
}

func (tx *transaction) define(m []byte, types [][]byte) {
	tx.cut()
	d := segment.Frame{Kind: segment.Definition, Relation: binary.BigEndian.Uint32(m[1:])}
	for _, y := range append(types, m) {
		d.Payload = segment.AppendMessage(d.Payload, y)
	}
	tx.out = append(tx.out, d)
}

func (tx *transaction) row(m []byte) {
	n := uint32(1)
	if m[0] == 'T' {
		n = binary.BigEndian.Uint32(m[1:])
	}
	tx.frame.Payload = segment.AppendMessage(tx.frame.Payload, m)
	tx.frame.Count += n
	if tx.limit > 0 && tx.frame.Count >= tx.limit {
		tx.cut()
	}
}

// cut ends the part.
func (tx *transaction) cut() {
	f := tx.frame
	if f.Count == 0 {
		return
	}
	tx.out = append(tx.out, f)
	tx.frame.First, tx.frame.Payload, tx.frame.Count = false, nil, 0
	tx.frame.Number++
	tx.frame.Ordinal += f.Count
}

func (tx *transaction) end(end position.LSN) []segment.Frame {
	total := tx.frame.Ordinal + tx.frame.Count
	tx.frame.Last = true
	out := append(tx.out, tx.frame)
	for i := range out {
		if out[i].Kind == segment.Part {
			out[i].End, out[i].Total = end, total
		}
	}
	return out
}

// Connect opens a session with canonical text for Digest; it is closed after the test.
func Connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	conn, err := postgres.Connect(t.Context(), url, "applytest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// Digest describes the content of every ordinary table outside our own schema: rows and a digest of their text.
func Digest(t testing.TB, conn *pgx.Conn) map[string]string {
	t.Helper()
	rows, err := conn.Query(t.Context(), `select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where c.relkind = 'r' and n.nspname not in ('tidemark', 'information_schema') and n.nspname not like 'pg\_%' order by 1, 2`)
	if err != nil {
		t.Fatal(err)
	}
	type table struct{ Schema, Name string }
	tables, err := pgx.CollectRows(rows, pgx.RowToStructByPos[table])
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, tb := range tables {
		var n int64
		var sum string
		name := postgres.Ident(tb.Schema, tb.Name)
		err := conn.QueryRow(t.Context(), "select count(*), md5(coalesce(string_agg(x::text, chr(10) order by x::text collate \"C\"), '')) from only "+name+" x", pgx.QueryExecModeExec).Scan(&n, &sum)
		if err != nil {
			t.Fatalf("digest of %s: %v", name, err)
		}
		out[name] = fmt.Sprintf("%d rows %s", n, sum)
	}
	return out
}

// Compare reports every table that differs between two databases.
func Compare(t testing.TB, source, target *pgx.Conn) {
	t.Helper()
	want, got := Digest(t, source), Digest(t, target)
	for name, w := range want {
		if got[name] != w {
			t.Errorf("table %s: source has %s, target %s", name, w, got[name])
		}
	}
	if len(want) == 0 {
		t.Error("source has no table to compare")
	}
}
