package apply

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"tidemark/internal/change"
	"tidemark/internal/postgres"
)

// OIDs of built-in types (pg_type.dat); they are the same on every server.
const (
	oidText = 25
	// firstAssigned is where OIDs begin that differ from server to server (FirstGenbkiObjectId).
	firstAssigned = 10000
)

// exactTypes are the built-in types for which equality is identity: equal values have equal text. Text types belong here
// only under a deterministic collation.
var exactTypes = map[uint32]bool{
	16: true, 17: true, 18: true, 19: true, 20: true, 21: true, 23: true, 25: true, 26: true, 28: true, 650: true, 829: true, 869: true,
	1043: true, 1082: true, 1083: true, 1114: true, 1184: true, 1560: true, 1562: true, 2950: true, 3220: true, 5069: true,
}

// target is a relation's table on the target, with the statements made for it.
type target struct {
	rel   *change.Relation
	table string // quoted
	grant string // SQL for the rights on it
	// only keeps a statement off tables that inherit: their rows come under their own relation. A partitioned table has no
	// rows but its partitions'.
	only        string
	partitioned bool
	columns     []column // as rel.Columns
	extra       []string // further columns of the table that can be written, quoted
	always      bool     // a published column is GENERATED ALWAYS AS IDENTITY
	// key lists the columns that find a row. Under identity FULL it is a unique index of the target; nil: all columns.
	key         []int
	constraints []*constraint
	statements  map[string]*statement
}

// column is a published column on the target.
type column struct {
	name      string // quoted
	typ       uint32 // type of the parameter that carries a value
	equal     string // the equality operator, schema-qualified
	exact     bool   // equality is identity
	equatable bool   // there is an equality operator for certain
	generated bool
	always    bool // GENERATED ALWAYS AS IDENTITY
}

// target gives a relation's table, looking at the catalog when the definition is new.
func (a *Applier) target(ctx context.Context, rel *change.Relation) (*target, error) {
	if t, ok := a.targets[rel]; ok {
		return t, nil
	}
	if err := a.rest(ctx); err != nil {
		return nil, err
	}
	t, err := a.load(ctx, rel)
	if err != nil {
		return nil, a.fail(err)
	}
	for old, was := range a.targets { // an older definition of the same table is not used again
		if old.Schema == rel.Schema && old.Name == rel.Name {
			t.inherit(was)
			delete(a.targets, old)
		}
	}
	a.targets[rel] = t
	return t, nil
}

func (a *Applier) load(ctx context.Context, rel *change.Relation) (*target, error) {
	t := &target{rel: rel, table: postgres.Ident(rel.Schema, rel.Name), only: "only ", statements: map[string]*statement{}}
	var oid uint32
	var kind string
	var filtered bool
	err := a.conn.QueryRow(ctx, `select c.oid, c.relkind::text, row_security_active(c.oid) from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where n.nspname = $1 and c.relname = $2`, rel.Schema, rel.Name).Scan(&oid, &kind, &filtered)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, &MismatchError{Table: rel.String(), Problem: "is missing"}
	case err != nil:
		return nil, fmt.Errorf("look at table %s: %w", rel, postgres.Explain(err))
	case kind != "r" && kind != "p":
		return nil, &MismatchError{Table: rel.String(), Problem: "is not a table"}
	case filtered:
		return nil, &RightsError{What: fmt.Sprintf("see all rows of %s under row-level security", rel), SQL: "alter role " + postgres.Ident(a.role) + " bypassrls"}
	}
	if err := a.cfg.Bindings.bind(rel, oid); err != nil {
		return nil, err
	}
	t.grant = grants(rel.Schema, t.table)
	if kind == "p" {
		t.only, t.partitioned = "", true
	}
	if err := a.loadColumns(ctx, oid, t); err != nil {
		return nil, err
	}
	if err := a.loadKey(ctx, oid, t); err != nil {
		return nil, err
	}
	return t, a.loadConstraints(ctx, oid, t)
}

// found is a column as the catalog has it. The base type is the type itself, or what a domain stands on.
type found struct {
	name, generated, identity    string
	typ, base                    uint32
	mod                          int32
	baseName, kind               string
	deterministic                bool
	operatorSchema, operatorName *string
}

const columnQuery = `
with recursive base as (
	select a.attnum, t.oid, t.typbasetype, t.typtype, t.typname from pg_attribute a join pg_type t on t.oid = a.atttypid
	where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped
	union all
	select base.attnum, t.oid, t.typbasetype, t.typtype, t.typname from base join pg_type t on t.oid = base.typbasetype where base.typtype = 'd'
)
select a.attname, a.attgenerated::text, a.attidentity::text, a.atttypid, b.oid, a.atttypmod, b.typname, b.typtype::text,
	coalesce((select c.collisdeterministic from pg_collation c where c.oid = a.attcollation), true), op.nspname, op.oprname
from pg_attribute a join base b on b.attnum = a.attnum and b.typtype <> 'd'
left join lateral (
	select n.nspname, o.oprname from pg_opclass c join pg_am am on am.oid = c.opcmethod and am.amname = 'btree'
	join pg_amop p on p.amopfamily = c.opcfamily and p.amopstrategy = 3 and p.amoplefttype = b.oid and p.amoprighttype = b.oid
	join pg_operator o on o.oid = p.amopopr join pg_namespace n on n.oid = o.oprnamespace
	where c.opcdefault and c.opcintype = b.oid limit 1
) op on true
where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped
order by a.attnum`

func (a *Applier) loadColumns(ctx context.Context, oid uint32, t *target) error {
	rows, err := a.conn.Query(ctx, columnQuery, oid)
	if err != nil {
		return fmt.Errorf("look at columns of %s: %w", t.rel, postgres.Explain(err))
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (f found, err error) {
		err = row.Scan(&f.name, &f.generated, &f.identity, &f.typ, &f.base, &f.mod, &f.baseName, &f.kind, &f.deterministic, &f.operatorSchema, &f.operatorName)
		return f, err
	})
	if err != nil {
		return fmt.Errorf("look at columns of %s: %w", t.rel, postgres.Explain(err))
	}
	byName := map[string]found{}
	for _, f := range all {
		byName[f.name] = f
	}
	for _, c := range t.rel.Columns {
		f, ok := byName[c.Name]
		if !ok {
			return &MismatchError{Table: t.rel.String(), Column: c.Name, Problem: "is missing"}
		}
		if problem := compareTypes(c, f); problem != "" {
			return &MismatchError{Table: t.rel.String(), Column: c.Name, Problem: problem}
		}
		col := f.column()
		t.always = t.always || col.always
		t.columns = append(t.columns, col)
		delete(byName, c.Name)
	}
	for _, f := range all {
		if _, unpublished := byName[f.name]; unpublished && f.generated == "" {
			t.extra = append(t.extra, postgres.Ident(f.name))
			t.always = t.always || f.identity == "a"
		}
	}
	return nil
}

func (f found) column() column {
	c := column{
		name: postgres.Ident(f.name), typ: f.typ, equal: "operator(pg_catalog.=)",
		exact:     exactTypes[f.base] && f.deterministic || f.kind == "e",
		generated: f.generated != "", always: f.identity == "a",
	}
	c.equatable = c.exact || f.operatorName != nil
	if f.operatorName != nil {
		c.equal = "operator(" + postgres.Ident(*f.operatorSchema) + "." + *f.operatorName + ")"
	}
	return c
}

// compareTypes says what keeps a source column's values from being the same in the target's column. Built-in types
// compare by OID, others by name: their OIDs differ, and an extension may live in another schema. A domain counts as
// its base type. A narrower numeric or timestamp would round in silence, so modifiers must agree.
func compareTypes(c change.Column, f found) string {
	if c.Type < firstAssigned {
		if f.base != c.Type {
			return fmt.Sprintf("has type %s, which is not the source's", f.baseName)
		}
		if f.typ == f.base && f.mod != -1 && f.mod != c.TypeMod {
			return fmt.Sprintf("has type %s with other limits than the source's", f.baseName)
		}
		return ""
	}
	// TypeName has its parts quoted where they need it.
	if c.TypeName != "" && !strings.HasSuffix(c.TypeName, "."+f.baseName) && !strings.HasSuffix(c.TypeName, "."+postgres.Ident(f.baseName)) {
		return fmt.Sprintf("has type %s, and the source's is %s", f.baseName, c.TypeName)
	}
	return ""
}

// loadKey decides which columns find a row.
func (a *Applier) loadKey(ctx context.Context, oid uint32, t *target) error {
	switch t.rel.Identity {
	case change.IdentityNothing:
		return nil
	case change.IdentityFull:
		return a.loadUnique(ctx, oid, t)
	}
	for i, c := range t.rel.Columns {
		if c.Key {
			t.key = append(t.key, i)
		}
	}
	return nil
}

// loadUnique looks for a unique index of the target that finds a row by published columns: the primary key, or the one of fewest columns.
func (a *Applier) loadUnique(ctx context.Context, oid uint32, t *target) error {
	rows, err := a.conn.Query(ctx, `
		select array_agg(a.attname::text order by k.n) from pg_index i
		cross join lateral unnest(i.indkey[0:i.indnkeyatts - 1]) with ordinality k(attnum, n)
		join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
		where i.indrelid = $1 and i.indisunique and i.indisvalid and i.indimmediate and not i.indisexclusion and i.indpred is null and i.indexprs is null
		group by i.indexrelid, i.indisprimary, i.indnkeyatts having bool_and(a.attnotnull)
		order by i.indisprimary desc, i.indnkeyatts, i.indexrelid`, oid)
	if err != nil {
		return fmt.Errorf("look at indexes of %s: %w", t.rel, postgres.Explain(err))
	}
	indexes, err := pgx.CollectRows(rows, pgx.RowTo[[]string])
	if err != nil {
		return fmt.Errorf("look at indexes of %s: %w", t.rel, postgres.Explain(err))
	}
	for _, names := range indexes {
		if t.key = t.find(names); t.key != nil {
			return nil
		}
	}
	return nil
}

// find gives the places of named columns, nil when one of them is not published.
func (t *target) find(names []string) []int {
	var out []int
	for _, name := range names {
		at := -1
		for i, c := range t.rel.Columns {
			if c.Name == name {
				at = i
			}
		}
		if at < 0 {
			return nil
		}
		out = append(out, at)
	}
	return out
}

// forget drops all statements and what is known of the tables when there are very many, between target transactions.
func (a *Applier) forget(ctx context.Context) error {
	if a.names < maxStatements {
		return nil
	}
	if err := a.rest(ctx); err != nil {
		return err
	}
	if err := a.conn.DeallocateAll(ctx); err != nil {
		return a.fail(fmt.Errorf("drop prepared statements: %w", postgres.Explain(err)))
	}
	a.names = 0
	clear(a.targets)
	return nil
}
