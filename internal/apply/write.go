package apply

import "tidemark/internal/change"

// insert writes all published columns that can be written.
func (b *builder) insert() {
	var names, values []string
	for i, c := range b.t.columns {
		if !c.generated {
			names, values = append(names, c.name), append(values, b.arg(false, i))
		}
	}
	b.put("insert into ", b.t.table)
	if len(names) == 0 {
		b.put(" default values")
		return
	}
	b.list(names)
	b.overriding()
	b.put(" values")
	b.list(values)
}

func (b *builder) list(items []string) {
	sep := " ("
	for _, item := range items {
		b.put(sep, item)
		sep = ", "
	}
	b.put(")")
}

func (b *builder) overriding() {
	if b.t.always {
		b.put(" overriding system value")
	}
}

// update sets the columns that were sent and may have changed. When there is none, the row must still be there.
func (b *builder) update() {
	set := b.settable()
	if len(set) == 0 {
		b.put("select 1 from ", b.t.only, b.t.table, " where ")
		b.where()
		return
	}
	b.put("update ", b.t.only, b.t.table)
	b.set(set)
	b.put(" where ")
	b.where()
}

func (b *builder) set(columns []int) {
	sep := " set "
	for _, i := range columns {
		b.put(sep, b.t.columns[i].name, " = ", b.arg(false, i))
		sep = ", "
	}
}

// settable lists the columns of an UPDATE. A key column of which no old value was sent did not change.
func (b *builder) settable() []int {
	var out []int
	for i, c := range b.t.columns {
		sameKey := b.row.Old == nil && b.t.rel.Columns[i].Key
		if !c.generated && !c.always && !sameKey && b.row.New[i].Kind != change.Unchanged {
			out = append(out, i)
		}
	}
	return out
}

// replace deletes the row and inserts it again with the new values; what was not sent comes from the deleted row.
func (b *builder) replace() {
	b.put("with d as (delete from ", b.t.only, b.t.table, " where ")
	b.where()
	b.put(" returning *) ")
	b.reinsert()
}

func (b *builder) reinsert() {
	var names, values []string
	for i, c := range b.t.columns {
		switch {
		case c.generated:
			continue
		case b.row.New[i].Kind == change.Unchanged:
			values = append(values, "d."+c.name)
		default:
			values = append(values, b.arg(false, i))
		}
		names = append(names, c.name)
	}
	for _, name := range b.t.extra {
		names, values = append(names, name), append(values, "d."+name)
	}
	b.put("insert into ", b.t.table)
	b.list(names)
	b.put(" overriding system value select ")
	for i, v := range values {
		if i > 0 {
			b.put(", ")
		}
		b.put(v)
	}
	b.put(" from d")
}

// either updates the row if its GENERATED ALWAYS values are those that were sent, and replaces it if they are not. Both halves
// see the row as it was before the statement, so exactly one of them finds it.
func (b *builder) either() {
	b.put("with u as (")
	b.update()
	b.put(" and ")
	b.same()
	if len(b.settable()) > 0 {
		b.put(" returning 1")
	}
	b.put("), d as (delete from ", b.t.only, b.t.table, " where ")
	b.where()
	b.put(" and not (")
	b.same()
	b.put(") returning *), i as (")
	b.reinsert()
	b.put(" returning 1) select 1 from u union all select 1 from i")
}

// same compares the GENERATED ALWAYS columns with the values that were sent.
func (b *builder) same() {
	sep := ""
	for i, c := range b.t.columns {
		if c.always && b.row.New[i].Kind != change.Unchanged {
			b.put(sep, c.name, " ", c.equal, " ", b.arg(false, i))
			sep = " and "
		}
	}
}
