package integration

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"tidemark/internal/position"
)

// canonical settings under which text is the same on every server.
var canonical = map[string]string{
	"datestyle": "ISO", "intervalstyle": "postgres", "extra_float_digits": "3", "bytea_output": "hex", "timezone": "UTC",
	"client_encoding": "UTF8", "search_path": "",
}

func connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(cfg.RuntimeParams, canonical)
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func sql(t testing.TB, conn *pgx.Conn, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := conn.Exec(t.Context(), s, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func query[T any](t testing.TB, conn *pgx.Conn, text string, args ...any) T {
	t.Helper()
	var v T
	if err := conn.QueryRow(t.Context(), text, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

// table is an application's table and the columns that hold values of their own.
type table struct {
	schema, name string
	columns      []string
	types        []string
	key          []string // of the replica identity; nil under FULL
}

func (tb table) String() string { return tb.schema + "." + tb.name }

func (tb table) ident() string { return pgx.Identifier{tb.schema, tb.name}.Sanitize() }

// list is the columns for SQL, each cast by a format such as %s::text.
func (tb table) list(format string) string {
	out := make([]string, len(tb.columns))
	for i, c := range tb.columns {
		out[i] = fmt.Sprintf(format, pgx.Identifier{c}.Sanitize())
	}
	return strings.Join(out, ", ")
}

// tables lists what is compared: all tables but the system's and Tidemark's own.
func tables(t testing.TB, conn *pgx.Conn) []table {
	t.Helper()
	rows, err := conn.Query(t.Context(), `select n.nspname, c.relname,
  array(select a.attname::text from pg_attribute a where a.attrelid = c.oid and attnum > 0 and not attisdropped and attgenerated = '' order by attnum),
  array(select format_type(a.atttypid, null) from pg_attribute a where a.attrelid = c.oid and attnum > 0 and not attisdropped and attgenerated = '' order by attnum),
  case when relreplident = 'f' then null else array(select a.attname::text from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey)
    where i.indrelid = c.oid and i.indisprimary order by attnum) end
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where relkind = 'r' and nspname !~ '^pg_' and nspname not in ('information_schema', 'tidemark') order by 1, 2`)
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (table, error) {
		var tb table
		err := row.Scan(&tb.schema, &tb.name, &tb.columns, &tb.types, &tb.key)
		return tb, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// digests gives, for each table, its rows and a sum of the rows' SHA-256, which does not depend on their order.
type digests map[string]string

func digest(t testing.TB, conn *pgx.Conn) digests {
	t.Helper()
	out := digests{}
	for _, tb := range tables(t, conn) {
		sum := fmt.Sprintf("('x' || encode(substr(sha256(convert_to(row(%s)::text, 'UTF8')), 1, 7), 'hex'))::bit(56)::bigint", tb.list("%s"))
		out[tb.String()] = query[string](t, conn, fmt.Sprintf("select count(*) || ' rows ' || coalesce(sum(%s), 0) from only %s", sum, tb.ident()))
	}
	return out
}

// same compares digests and names each table that differs.
func same(t testing.TB, what string, want, got digests) {
	t.Helper()
	if len(want) == 0 {
		t.Fatal("nothing to compare")
	}
	for _, line := range differences(want, got) {
		t.Errorf("%s: %s", what, line)
	}
}

func differences(want, got digests) []string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] != want[name] {
			list = append(list, fmt.Sprintf("table %s has %s, the primary %s", name, cmp.Or(got[name], "nothing"), want[name]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[name]; !ok {
			list = append(list, fmt.Sprintf("table %s is not on the primary", name))
		}
	}
	return list
}

// truth is a session on the primary that sees exactly the transactions that end at or below lsn.
type truth struct {
	lsn  position.LSN
	conn *pgx.Conn
}

// snapshotAt takes an exported snapshot: the server itself says where it stands. A snapshot does not see a TRUNCATE that
// comes after it, so its tables are locked, and it is taken again when one slipped in before the locks.
func snapshotAt(t testing.TB, url string, major int) truth {
	t.Helper()
	for range 50 {
		at := importSnapshot(t, url, major)
		list := tables(t, at.conn)
		names := make([]string, len(list))
		for i, tb := range list {
			names[i] = tb.ident()
		}
		sql(t, at.conn, "lock table only "+strings.Join(names, ", only ")+" in access share mode")
		moved := query[int](t, at.conn, "select count(*) from pg_class where relkind = 'r' and relfilenode <> 0 and relfilenode is distinct from pg_relation_filenode(oid)")
		if moved == 0 {
			return at
		}
		_ = at.conn.Close(t.Context())
	}
	t.Fatal("a table is truncated too often for a snapshot")
	return truth{}
}

func importSnapshot(t testing.TB, url string, major int) truth {
	t.Helper()
	cfg, err := pgconn.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	cfg.RuntimeParams["replication"] = "database"
	exporter, err := pgconn.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = exporter.Close(context.Background()) }()
	option := "(SNAPSHOT 'export')"
	if major < 15 {
		option = "EXPORT_SNAPSHOT"
	}
	results, err := exporter.Exec(t.Context(), "CREATE_REPLICATION_SLOT oracle TEMPORARY LOGICAL pgoutput "+option).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	row := results[0].Rows[0]
	lsn, err := position.ParseLSN(string(row[1]))
	if err != nil {
		t.Fatal(err)
	}
	conn := connect(t, url)
	sql(t, conn, "begin isolation level repeatable read read only", "set transaction snapshot '"+string(row[2])+"'")
	return truth{lsn: lsn, conn: conn}
}
