package apply

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"tidemark/internal/change"
	"tidemark/internal/postgres"
)

// maxNoted bounds the values kept for one constraint until COMMIT; beyond it the whole table is looked through once.
const maxNoted = 10000

// constraint is a deferrable unique or exclusion constraint of a target: replica mode does not check it, so we do.
type constraint struct {
	name      string
	columns   []int // in the relation
	operators []string
	oids      []uint32
	conflict  string // two rows x and y conflict
	noted     [][][]byte
	whole     bool
}

const constraintQuery = `
select c.conname, i.indexprs is not null or i.indpred is not null,
	(select array_agg(a.attname::text order by k.n) from unnest(c.conkey) with ordinality k(attnum, n) join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.attnum),
	(select array_agg(quote_ident(s.nspname) || '.' || o.oprname order by k.n) from unnest(c.conexclop) with ordinality k(oid, n)
		join pg_operator o on o.oid = k.oid join pg_namespace s on s.oid = o.oprnamespace)
from pg_constraint c join pg_index i on i.indexrelid = c.conindid
where c.conrelid = $1 and c.condeferrable and c.contype in ('p', 'u', 'x')
order by c.oid`

func (a *Applier) loadConstraints(ctx context.Context, oid uint32, t *target) error {
	rows, err := a.conn.Query(ctx, constraintQuery, oid)
	if err != nil {
		return fmt.Errorf("look at constraints of %s: %w", t.rel, postgres.Explain(err))
	}
	var name string
	var hard bool
	var columns, operators []string
	_, err = pgx.ForEachRow(rows, []any{&name, &hard, &columns, &operators}, func() error {
		c := &constraint{name: name, columns: t.find(columns)}
		if hard || c.columns == nil || operators != nil && len(operators) != len(columns) {
			a.log.Warn("deferrable constraint on the target is not checked while applying", "table", t.rel.String(), "constraint", name)
			return nil
		}
		for i, at := range c.columns {
			op := t.columns[at].equal
			if operators != nil {
				op = "operator(" + operators[i] + ")"
			}
			c.operators, c.oids = append(c.operators, op), append(c.oids, t.columns[at].typ)
		}
		c.conflict = c.pairs(t)
		t.constraints = append(t.constraints, c)
		return nil
	})
	if err != nil {
		return fmt.Errorf("look at constraints of %s: %w", t.rel, postgres.Explain(err))
	}
	return nil
}

// pairs writes the query for two different rows that conflict, up to its WHERE.
func (c *constraint) pairs(t *target) string {
	var on []string
	for i, at := range c.columns {
		name := t.columns[at].name
		on = append(on, "x."+name+" "+c.operators[i]+" y."+name)
	}
	return "select 1 from " + t.only + t.table + " x join " + t.only + t.table + " y on (x.tableoid, x.ctid) <> (y.tableoid, y.ctid) and " + strings.Join(on, " and ")
}

// note remembers what a row writes into columns of deferrable constraints.
func (t *target) note(row *change.Row) {
	if row.Op == change.Delete {
		return
	}
	for _, c := range t.constraints {
		if !c.whole {
			c.note(row)
		}
	}
}

func (c *constraint) note(row *change.Row) {
	values := make([][]byte, len(c.columns))
	for i, at := range c.columns {
		switch v := row.New[at]; v.Kind {
		case change.Null:
			return // conflicts with nothing
		case change.Text:
			values[i] = append([]byte{}, v.Data...)
		default: // not sent, or not as text
			c.whole = true
		}
	}
	if c.noted = append(c.noted, values); len(c.noted) > maxNoted {
		c.whole = true
	}
	if c.whole {
		c.noted = nil
	}
}

// inherit takes over from an older definition of the table what is still to be checked.
func (t *target) inherit(old *target) {
	for _, c := range old.constraints {
		if c.whole || len(c.noted) > 0 {
			for _, mine := range t.constraints {
				mine.whole = true
			}
		}
	}
}

func (t *target) forgetValues() {
	for _, c := range t.constraints {
		c.noted, c.whole = nil, false
	}
}

func (a *Applier) forgetConstraintChecks() {
	for _, t := range a.targets {
		t.forgetValues()
	}
}

// sendConstraintChecks queues the look-ups of all noted values. Any row x that conflicts with a noted value and with another row y is a
// violation; the row that wrote the value is such an x or such a y, if it still exists.
func (a *Applier) sendConstraintChecks(ctx context.Context) error {
	for _, t := range a.targets {
		for _, c := range t.constraints {
			if err := a.checkConstraint(ctx, t, c); err != nil {
				return err
			}
		}
		t.forgetValues()
	}
	return nil
}

func (a *Applier) checkConstraint(ctx context.Context, t *target, c *constraint) error {
	s := step{table: t.rel.String(), unique: c.name}
	if c.whole {
		a.pipe.SendQueryParams(c.conflict+" limit 1", nil, nil, nil, nil)
		a.expect(s)
	}
	sql := c.conflict + c.near(t) + " limit 1"
	for _, values := range c.noted {
		a.pipe.SendQueryParams(sql, values, c.oids, nil, nil)
		a.expect(s)
		if err := a.sent(ctx, len(sql)); err != nil {
			return err
		}
	}
	return nil
}

// near limits x to rows that conflict with a value.
func (c *constraint) near(t *target) string {
	out := " where "
	for i, at := range c.columns {
		if i > 0 {
			out += " and "
		}
		out += "x." + t.columns[at].name + " " + c.operators[i] + " $" + strconv.Itoa(i+1)
	}
	return out
}
