package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"tidemark/internal/postgres"
)

// publication is what stands in the catalogs.
type publication struct {
	exists    bool
	allTables bool
	owned     bool
	complete  bool // publishes insert, update, delete and truncate
	viaRoot   bool
	schemas   []string // TABLES IN SCHEMA (15 and newer)
	tables    []published
}

type published struct {
	oid          uint32
	schema, name string
	filtered     bool // has a row filter or a column list
}

func (p published) ident() string { return postgres.Ident(p.schema, p.name) }

func readPublication(ctx context.Context, conn *pgx.Conn, version postgres.Version, name string) (publication, error) {
	p := publication{exists: true}
	var oid uint32
	err := conn.QueryRow(ctx, `select oid, puballtables, pg_has_role(pubowner, 'USAGE'), pubinsert and pubupdate and pubdelete and pubtruncate, pubviaroot
from pg_publication where pubname = $1`, name).Scan(&oid, &p.allTables, &p.owned, &p.complete, &p.viaRoot)
	if errors.Is(err, pgx.ErrNoRows) {
		return publication{}, nil
	}
	if err != nil {
		return publication{}, fmt.Errorf("read publication: %w", postgres.Explain(err))
	}
	// Row filters and column lists came with 15; through jsonb their absence reads as null.
	rows, err := conn.Query(ctx, `select c.oid, n.nspname, c.relname, coalesce(to_jsonb(r)->>'prqual', to_jsonb(r)->>'prattrs') is not null
from pg_publication_rel r join pg_class c on c.oid = r.prrelid join pg_namespace n on n.oid = c.relnamespace
where r.prpubid = $1 order by 2, 3`, oid)
	if err != nil {
		return publication{}, fmt.Errorf("read publication: %w", postgres.Explain(err))
	}
	p.tables, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (published, error) {
		var t published
		err := row.Scan(&t.oid, &t.schema, &t.name, &t.filtered)
		return t, err
	})
	if err != nil || version.Major() < 15 {
		return p, postgres.Explain(err)
	}
	rows, err = conn.Query(ctx, `select n.nspname from pg_publication_namespace p join pg_namespace n on n.oid = p.pnnspid where p.pnpubid = $1 order by 1`, oid)
	if err != nil {
		return publication{}, fmt.Errorf("read publication: %w", postgres.Explain(err))
	}
	p.schemas, err = pgx.CollectRows(rows, pgx.RowTo[string])
	return p, postgres.Explain(err)
}

// difference is how a publication differs from what the patterns ask for.
type difference struct {
	add      []table     // chosen, not published
	drop     []published // published, not chosen
	filtered []published // published with a row filter or a column list, which would lose rows or columns
	options  bool        // actions are missing, or rows go under the partitioned table's name
}

func (d difference) empty() bool {
	return len(d.add) == 0 && len(d.drop) == 0 && len(d.filtered) == 0 && !d.options
}

func compare(p publication, listed []table) difference {
	d := difference{options: p.exists && (!p.complete || p.viaRoot)}
	for _, t := range listed {
		i := slices.IndexFunc(p.tables, func(x published) bool { return x.oid == t.oid })
		switch {
		case i < 0:
			d.add = append(d.add, t)
		case p.tables[i].filtered:
			d.filtered = append(d.filtered, p.tables[i])
		}
	}
	for _, x := range p.tables {
		if !slices.ContainsFunc(listed, func(t table) bool { return t.oid == x.oid }) {
			d.drop = append(d.drop, x)
		}
	}
	return d
}

const publishOptions = "publish = 'insert, update, delete, truncate', publish_via_partition_root = false"

// statements gives the SQL that makes the publication what it should be; none when it already is.
func (d difference) statements(name string, exists bool) []string {
	pub := postgres.Ident(name)
	if !exists {
		return []string{"CREATE PUBLICATION " + pub + " FOR TABLE " + only(d.add, table.ident) + " WITH (" + publishOptions + ")"}
	}
	var out []string
	if d.options {
		out = append(out, "ALTER PUBLICATION "+pub+" SET ("+publishOptions+")")
	}
	if gone := append(slices.Clone(d.drop), d.filtered...); len(gone) > 0 {
		out = append(out, "ALTER PUBLICATION "+pub+" DROP TABLE "+only(gone, published.ident))
	}
	if len(d.filtered) > 0 {
		out = append(out, "ALTER PUBLICATION "+pub+" ADD TABLE "+only(d.filtered, published.ident))
	}
	if len(d.add) > 0 {
		out = append(out, "ALTER PUBLICATION "+pub+" ADD TABLE "+only(d.add, table.ident))
	}
	return out
}

// only lists tables with ONLY, without which children by inheritance would come along unasked.
func only[T any](list []T, ident func(T) string) string {
	parts := make([]string, len(list))
	for i, t := range list {
		parts[i] = "ONLY " + ident(t)
	}
	return strings.Join(parts, ", ")
}

// checkPublicationForm refuses the two forms that no ALTER turns into a list of tables without a moment in between.
func checkPublicationForm(p publication, name string) []Finding {
	pub := postgres.Ident(name)
	if p.allTables {
		return []Finding{{Name: "publication", Level: Fail,
			Text: fmt.Sprintf("publication %q is FOR ALL TABLES, which makes UPDATE and DELETE fail on every table without a replica identity", name),
			Fix:  "choose another name in source.publication.name, or stop its users and DROP PUBLICATION " + pub + ";"}}
	}
	if len(p.schemas) > 0 {
		return []Finding{{Name: "publication", Level: Fail,
			Text: fmt.Sprintf("publication %q publishes whole schemas (%s), and Tidemark's lists its tables", name, strings.Join(p.schemas, ", ")),
			Fix:  "choose another name in source.publication.name, or ALTER PUBLICATION " + pub + " DROP TABLES IN SCHEMA " + schemaList(p.schemas) + ";"}}
	}
	return nil
}

func schemaList(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = postgres.Ident(n)
	}
	return strings.Join(quoted, ", ")
}

// checkPublicationRights names what our role lacks to run the statements.
func checkPublicationRights(s server, p publication, d difference, statements []string, name string) []Finding {
	if len(statements) == 0 {
		return nil
	}
	out := checkOwners(s, d.add, statements)
	if p.exists && !p.owned {
		out = append(out, Finding{Name: "ownership", Level: Fail,
			Text: fmt.Sprintf("role %q does not own publication %q and so may not change it", s.role, name),
			Fix:  "a superuser runs: " + strings.Join(statements, "; ") + ";"})
	}
	return out
}

// checkDrift compares what is published with what the patterns ask for.
func checkDrift(p publication, d difference, name string) []Finding {
	if !p.exists {
		return []Finding{{Name: "publication", Level: Fail, Text: fmt.Sprintf("publication %q does not exist", name), Fix: "run tidemark init"}}
	}
	var out []Finding
	drift := func(level Level, format string, args ...any) {
		out = append(out, Finding{Name: "publication", Level: level, Text: fmt.Sprintf(format, args...), Fix: "run tidemark init"})
	}
	if !p.complete {
		drift(Fail, "publication %q leaves out insert, update, delete or truncate", name)
	}
	if p.viaRoot {
		drift(Fail, "publication %q sends partitions under their partitioned table's name (publish_via_partition_root), where truncating or detaching a partition is invisible", name)
	}
	for _, t := range d.filtered {
		drift(Fail, "publication %q has a row filter or a column list on %s.%s", name, t.schema, t.name)
	}
	for _, t := range d.add {
		drift(Warn, "table %s matches source.publication.tables and is not published", t)
	}
	for _, t := range d.drop {
		drift(Warn, "table %s.%s is published and does not match source.publication.tables", t.schema, t.name)
	}
	if len(out) == 0 {
		out = append(out, Finding{Name: "publication", Level: OK, Text: fmt.Sprintf("publication %q holds the %d tables asked for", name, len(p.tables))})
	}
	return out
}
