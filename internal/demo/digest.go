package demo

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"tidemark/internal/postgres"
)

// table is a user table and its columns, in their order.
type table struct {
	schema, name string
	columns      []column
}

type column struct {
	name      string
	kind      string // format_type
	generated bool
}

func (t table) String() string { return t.schema + "." + t.name }

// tables reads the user tables of a database, without our own schema.
func tables(ctx context.Context, conn *pgx.Conn) ([]table, error) {
	rows, err := conn.Query(ctx, `
		select n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attgenerated <> ''
		from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid
		where c.relkind = 'r' and a.attnum > 0 and not a.attisdropped
		  and n.nspname not in ('pg_catalog', 'information_schema', 'tidemark')
		order by 1, 2, a.attnum`)
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	var out []table
	var schema, name, attribute, kind string
	var generated bool
	_, err = pgx.ForEachRow(rows, []any{&schema, &name, &attribute, &kind, &generated}, func() error {
		if n := len(out); n == 0 || out[n-1].schema != schema || out[n-1].name != name {
			out = append(out, table{schema: schema, name: name})
		}
		last := &out[len(out)-1]
		last.columns = append(last.columns, column{attribute, kind, generated})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	return out, nil
}

// digests gives count and an order-independent sum of row hashes per table, computed by the server from one snapshot.
func digests(ctx context.Context, url string) (map[string]string, error) {
	conn, err := postgres.Connect(ctx, url, "tidemark demo")
	if err != nil {
		return nil, fmt.Errorf("connect for digests: %w", err)
	}
	defer conn.Close(ctx)
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, fmt.Errorf("begin digests: %w", err)
	}
	defer func() { _ = tx.Rollback(ctx) }()
	list, err := tables(ctx, conn)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, t := range list {
		var digest string
		if err := tx.QueryRow(ctx, t.digestSQL()).Scan(&digest); err != nil {
			return nil, fmt.Errorf("digest %s: %w", t, postgres.Explain(err))
		}
		out[t.String()] = digest
	}
	return out, nil
}

func (t table) digestSQL() string {
	var names []string
	for _, c := range t.columns {
		names = append(names, postgres.Ident(c.name))
	}
	return fmt.Sprintf(`select count(*) || ' rows ' || coalesce(sum(('x' || left(md5(row(%s)::text), 16))::bit(64)::bigint::numeric), 0) from %s`,
		strings.Join(names, ", "), postgres.Ident(t.schema, t.name))
}

// difference names the tables that differ.
func difference(want, got map[string]string) []string {
	var out []string
	for name, digest := range want {
		if got[name] != digest {
			out = append(out, name)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			out = append(out, name)
		}
	}
	return out
}
