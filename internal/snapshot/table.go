package snapshot

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"tidemark/internal/change"
	"tidemark/internal/postgres"
)

// Table is a published table. Partitions stand for themselves; their partitioned table is not listed.
type Table struct {
	Schema, Name string
	// Columns are the published ones that hold values of their own: generated columns are left out.
	Columns []string
	// Rows is the planner's estimate, negative when there is none; Bytes the size on disk.
	Rows, Bytes int64

	oid uint32
}

// String gives schema.name, unquoted, for messages.
func (t Table) String() string { return t.Schema + "." + t.Name }

func (t Table) ident() string { return postgres.Ident(t.Schema, t.Name) }

// columnList is the list for COPY; a table without columns takes none, and COPY then writes an empty line per row.
func (t Table) columnList() string {
	if len(t.Columns) == 0 {
		return ""
	}
	quoted := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		quoted[i] = postgres.Ident(c)
	}
	return " (" + strings.Join(quoted, ", ") + ")"
}

func (t Table) copyOut() string { return "copy " + t.ident() + t.columnList() + " to stdout" }

func (t Table) copyIn() string { return "copy " + t.ident() + t.columnList() + " from stdin" }

// Tables lists the tables of a publication as the session's snapshot sees them, largest first, without Tidemark's own.
// Row filters and publishing partitions under their partitioned table are refused: the stream could not be followed.
func Tables(ctx context.Context, conn *pgx.Conn, publication string) ([]Table, error) {
	var exists bool
	if err := conn.QueryRow(ctx, "select exists (select from pg_publication where pubname = $1)", publication).Scan(&exists); err != nil {
		return nil, fmt.Errorf("find publication %q: %w", publication, postgres.Explain(err))
	}
	if !exists {
		return nil, fmt.Errorf("find publication %q: it does not exist; run tidemark init", publication)
	}
	// Column lists and row filters came with 15; through jsonb their absence reads as null.
	rows, err := conn.Query(ctx, `select c.oid, n.nspname, c.relname, c.relkind = 'p' or to_jsonb(p)->>'rowfilter' is not null,
  array(select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
    and (to_jsonb(p)->>'attnames' is null or to_jsonb(p)->'attnames' ? a.attname::text) order by a.attnum),
  c.reltuples::bigint, coalesce(pg_table_size(c.oid), 0)
from pg_publication_tables p join pg_namespace n on n.nspname = p.schemaname join pg_class c on c.relnamespace = n.oid and c.relname = p.tablename
where p.pubname = $1 and n.nspname <> $2 order by 7 desc, 2, 3`, publication, change.Own)
	if err != nil {
		return nil, fmt.Errorf("list published tables: %w", postgres.Explain(err))
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Table, error) {
		var t Table
		var unfit bool
		if err := row.Scan(&t.oid, &t.Schema, &t.Name, &unfit, &t.Columns, &t.Rows, &t.Bytes); err != nil {
			return Table{}, err
		}
		if unfit {
			return Table{}, fmt.Errorf("publication %q has a row filter on table %s or publishes it for its partitions, which cannot be followed; "+
				"run tidemark check", publication, t)
		}
		return t, nil
	})
	if err != nil {
		return nil, fmt.Errorf("list published tables: %w", postgres.Explain(err))
	}
	return list, nil
}

// shape is a table's definition, and where its rows are stored.
type shape struct{ definition, storage string }

// shapes describes tables as the session's snapshot sees them: the definition differs when a table was altered, the storage
// when it was truncated or rewritten. A table that is not there is missing in the result.
func shapes(ctx context.Context, conn *pgx.Conn, tables []Table) (map[uint32]shape, error) {
	oids := make([]uint32, len(tables))
	for i, t := range tables {
		oids[i] = t.oid
	}
	rows, err := conn.Query(ctx, `select c.oid, c.relfilenode::text, concat_ws(' ', n.nspname, c.relname, c.relreplident,
  (select string_agg(concat_ws(' ', a.attnum, a.attname, a.atttypid, a.atttypmod, a.attgenerated, a.attidentity, a.attnotnull, a.attisdropped), ',' order by a.attnum)
   from pg_attribute a where a.attrelid = c.oid and a.attnum > 0))
from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = any($1)`, oids)
	if err != nil {
		return nil, fmt.Errorf("read catalogs: %w", postgres.Explain(err))
	}
	out := make(map[uint32]shape, len(tables))
	var oid uint32
	var s shape
	_, err = pgx.ForEachRow(rows, []any{&oid, &s.storage, &s.definition}, func() error {
		out[oid] = s
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read catalogs: %w", postgres.Explain(err))
	}
	return out, nil
}
