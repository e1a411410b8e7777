package oracle

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"tidemark/integration/checker/fold"
)

// listTables gives plain tables, the leaves of partitioned ones among them. A deferrable primary key is no replica identity
// (https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-REPLICA-IDENTITY).
const listTables = `select n.nspname, c.relname, c.relreplident::text,
  array(select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' order by a.attnum),
  array(select format_type(a.atttypid, null) from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' order by a.attnum),
  array(select a.attname::text
    from pg_index i, unnest(i.indkey) with ordinality k(attnum, place) join pg_attribute a on a.attnum = k.attnum
    where i.indrelid = c.oid and a.attrelid = c.oid and k.place <= i.indnkeyatts and i.indisvalid and i.indimmediate
      and case c.relreplident when 'i' then i.indisreplident when 'n' then false else i.indisprimary end
    order by k.place)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'tidemark', 'private')
order by 1, 2`

// Tables lists what is compared: all tables but the system's, Tidemark's own and those of schema private, which nobody
// publishes. A table with FULL and a primary key counts as keyed. The session must be Connect's.
func Tables(ctx context.Context, conn *pgx.Conn) ([]fold.Table, error) {
	rows, err := conn.Query(ctx, listTables)
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanTable)
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	return list, nil
}

func scanTable(row pgx.CollectableRow) (fold.Table, error) {
	var t fold.Table
	var identity string
	var names, types, key []string
	if err := row.Scan(&t.Schema, &t.Name, &identity, &names, &types, &key); err != nil {
		return t, err
	}
	for i, name := range names {
		t.Columns = append(t.Columns, fold.Column{Name: name, Type: types[i]})
	}
	for _, name := range key {
		i := slices.Index(names, name)
		if i < 0 {
			return t, fmt.Errorf("key column %q of %s is generated", name, t)
		}
		t.Key = append(t.Key, i)
	}
	switch {
	case len(key) > 0:
		t.Identity = fold.Keyed
	case identity == "f":
		t.Identity = fold.Full
	default:
		t.Identity = fold.None
	}
	return t, nil
}
