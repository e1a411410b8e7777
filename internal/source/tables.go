package source

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"tidemark/internal/change"
	"tidemark/internal/postgres"
)

// table is a table of the source as far as publishing it is concerned.
type table struct {
	oid          uint32
	schema, name string
	kind         string // r ordinary, p partitioned, f foreign
	persistence  string // p permanent, u unlogged
	owned        bool   // our role may act as its owner
	identity     bool   // UPDATE and DELETE have an identity to send
	ancestors    []uint32
}

func (t table) ident() string  { return postgres.Ident(t.schema, t.name) }
func (t table) String() string { return t.schema + "." + t.name }

// A deferrable primary key is no replica identity (RelationGetIndexList in relcache.c).
const tablesQuery = `
select c.oid, n.nspname, c.relname, c.relkind::text, c.relpersistence::text, pg_has_role(c.relowner, 'USAGE'),
  case c.relreplident
    when 'f' then true
    when 'n' then false
    when 'i' then exists (select from pg_index i where i.indrelid = c.oid and i.indisreplident and i.indisvalid)
    else exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary and i.indisvalid and i.indimmediate)
  end,
  array(select a.relid::oid from pg_partition_ancestors(c.oid) a where a.relid <> c.oid)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'f') and c.relpersistence in ('p', 'u')
  and n.nspname <> 'information_schema' and n.nspname !~ '^pg_'
order by n.nspname, c.relname`

func readTables(ctx context.Context, conn *pgx.Conn) ([]table, error) {
	rows, err := conn.Query(ctx, tablesQuery)
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", postgres.Explain(err))
	}
	tables, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (table, error) {
		var t table
		err := row.Scan(&t.oid, &t.schema, &t.name, &t.kind, &t.persistence, &t.owned, &t.identity, &t.ancestors)
		return t, err
	})
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", postgres.Explain(err))
	}
	return tables, nil
}

// choice is what a publication's patterns come to on a list of tables.
type choice struct {
	// listed stands in the publication by name: chosen tables, and our own.
	listed []table
	// rows holds every table whose rows are published: ordinary ones in listed, and the leaves of partitioned ones.
	rows []table
	// unprotected cannot be published: unlogged and foreign tables.
	unprotected []table
	// forced is excluded by pattern and published all the same, because its partitioned parent is.
	forced []table
}

// choose applies patterns. A partition whose ancestor is chosen is not listed again: it comes with the ancestor, as
// do partitions that are made later.
func choose(p Publication, tables []table) choice {
	var c choice
	roots := map[uint32]bool{}
	for _, t := range tables {
		if t.kind == "p" && t.persistence == "p" && p.wants(t.schema, t.name) {
			roots[t.oid] = true
		}
	}
	for _, t := range tables {
		under := slices.ContainsFunc(t.ancestors, func(oid uint32) bool { return roots[oid] })
		wanted := p.wants(t.schema, t.name) || own(t)
		switch {
		case !wanted && !under:
		case t.kind == "f" || t.persistence == "u":
			c.unprotected = append(c.unprotected, t)
		default:
			c.take(t, under, wanted)
		}
	}
	return c
}

func (c *choice) take(t table, under, wanted bool) {
	if !under {
		c.listed = append(c.listed, t)
	}
	if t.kind == "r" {
		c.rows = append(c.rows, t)
		if under && !wanted {
			c.forced = append(c.forced, t)
		}
	}
}

// own reports whether t is one of our tables that are published.
func own(t table) bool {
	return t.schema == change.Own && (t.name == "heartbeat" || t.name == "ddl" || t.name == "sequence")
}

func checkIdentities(c choice) []Finding {
	var out []Finding
	for _, t := range c.rows {
		if t.identity {
			continue
		}
		out = append(out, Finding{Name: "replica identity", Level: Fail,
			Text: fmt.Sprintf("table %s has no replica identity: publishing it would make its UPDATE and DELETE fail", t),
			Fix:  fmt.Sprintf("ALTER TABLE %s REPLICA IDENTITY FULL; or give it a primary key, or list it in source.publication.exclude", t.ident())})
	}
	if len(out) == 0 {
		out = append(out, Finding{Name: "replica identity", Level: OK, Text: fmt.Sprintf("all %d published tables have a replica identity", len(c.rows))})
	}
	return out
}

// checkOwners names the tables among those to add that our role may not publish.
func checkOwners(s server, add []table, statements []string) []Finding {
	var foreign []string
	for _, t := range add {
		if !t.owned {
			foreign = append(foreign, t.String())
		}
	}
	if len(foreign) == 0 {
		return nil
	}
	return []Finding{{Name: "ownership", Level: Fail,
		Text: fmt.Sprintf("role %q does not own %s and so may not publish them", s.role, strings.Join(foreign, ", ")),
		Fix:  "a superuser runs: " + strings.Join(statements, "; ") + ";"}}
}

func checkUnprotected(c choice) []Finding {
	var out []Finding
	for _, t := range c.unprotected {
		kind := "unlogged"
		if t.kind == "f" {
			kind = "foreign"
		}
		out = append(out, Finding{Name: "coverage", Level: Warn, Text: fmt.Sprintf("%s table %s is not protected: logical decoding does not see it", kind, t)})
	}
	for _, t := range c.forced {
		out = append(out, Finding{Name: "coverage", Level: Warn, Text: fmt.Sprintf("partition %s matches source.publication.exclude and is published all the same, with its partitioned table", t)})
	}
	return out
}
