package apply

import (
	"strconv"
	"strings"

	"tidemark/internal/change"
	"tidemark/internal/planted"
)

// param is where a statement's parameter comes from.
type param struct {
	old bool // the old tuple
	col int
}

// builder writes one statement for rows of one shape.
type builder struct {
	strings.Builder
	t      *target
	row    *change.Row
	params []param
	oids   []uint32
}

func (b *builder) reset(t *target, row *change.Row) {
	b.Builder.Reset()
	b.t, b.row, b.params, b.oids = t, row, nil, nil
}

// put appends a piece of SQL.
func (b *builder) put(parts ...string) {
	for _, p := range parts {
		b.WriteString(p)
	}
}

// arg gives the placeholder for a value of the row.
func (b *builder) arg(old bool, col int) string {
	p := param{old, col}
	for i, q := range b.params {
		if p == q {
			return "$" + strconv.Itoa(i+1)
		}
	}
	b.params = append(b.params, p)
	b.oids = append(b.oids, b.t.columns[col].typ)
	return "$" + strconv.Itoa(len(b.params))
}

// identity gives the tuple that finds the row.
func identity(row *change.Row) (values []change.Value, old bool) {
	if row.Old != nil {
		return row.Old, true
	}
	return row.New, false
}

// where writes the condition that finds the row. With a key that is the key. Without, it is the place of one of the rows that
// equal the old tuple.
func (b *builder) where() {
	if b.t.key != nil {
		b.match(b.t.key, false)
		return
	}
	if planted.Is(planted.FullDeletesAll) {
		b.match(b.stored(), false)
		return
	}
	table := b.t.only + b.t.table
	switch exact := b.allExact(); {
	case b.t.partitioned && exact:
		b.put("(tableoid, ctid) = (select tableoid, ctid from ", table, " where ")
		b.match(b.stored(), false)
		b.put(" limit 1)")
	case b.t.partitioned:
		b.put("(tableoid, ctid) = (select tableoid, ctid from ", table, " where ")
		b.match(b.stored(), false)
		b.put(" order by ")
		b.match(b.stored(), true)
		b.put(" desc limit 1)")
	case exact:
		b.put("ctid = (select ctid from ", table, " where ")
		b.match(b.stored(), false)
		b.put(" limit 1)")
	default:
		b.put("ctid = coalesce((select ctid from ", table, " where ")
		b.match(b.stored(), true)
		b.put(" limit 1), (select ctid from ", table, " where ")
		b.match(b.stored(), false)
		b.put(" limit 1))")
	}
}

// stored lists the columns whose values are the source's: not those that the target computes itself.
func (b *builder) stored() []int {
	var out []int
	for i, c := range b.t.columns {
		if !c.generated {
			out = append(out, i)
		}
	}
	return out
}

func (b *builder) allExact() bool {
	for _, c := range b.t.columns {
		if !c.exact && !c.generated {
			return false
		}
	}
	return true
}

// match writes a condition on columns; byText compares where equality is not identity by text.
func (b *builder) match(columns []int, byText bool) {
	values, old := identity(b.row)
	if len(columns) == 0 {
		b.put("true")
	}
	for n, i := range columns {
		if n > 0 {
			b.put(" and ")
		}
		b.equal(i, values[i].Kind, old, byText)
	}
}

// equal writes "column i is the value". For a null it is written so that a composite value of nulls does not count as null.
func (b *builder) equal(i int, kind change.Kind, old, byText bool) {
	c := b.t.columns[i]
	switch {
	case planted.Is(planted.NullIdentity) && kind == change.Null && b.t.key == nil:
		b.put("null::pg_catalog.bool") // what column = null gives
	case kind == change.Null:
		b.put(c.name, " is not distinct from null")
	case !c.exact && byText || !c.equatable && b.t.key == nil:
		b.put(c.name, `::pg_catalog.text collate "C" operator(pg_catalog.=) `, b.arg(old, i), `::pg_catalog.text collate "C"`)
	default:
		b.put(c.name, " ", c.equal, " ", b.arg(old, i))
	}
}
