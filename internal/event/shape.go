package event

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"tidemark/internal/change"
)

// shape is what all messages of one relation share, made once per definition.
type shape struct {
	relation *change.Relation
	// own marks a relation of Tidemark's own, whose changes are not handed on.
	own bool
	// schema is the fingerprint as the header gives it.
	schema   string
	subjects [change.Truncate + 1]string
	// heads hold the document up to the key's value.
	heads   [change.Truncate + 1][]byte
	columns []column
	// whole is set under replica identity FULL: the key is not known.
	whole bool
	// counts are the changes of the current transaction, by operation; generation says of which.
	counts     [change.Truncate + 1]uint32
	generation uint64
}

type column struct {
	// name is the JSON string and the colon behind it.
	name []byte
	form form
	key  bool
}

// shape finds or makes a relation's shape. A relation that is defined anew within a transaction gets a new one; the
// former stays in e.touched with its counts.
func (e *Encoder) shape(rel *change.Relation) (*shape, error) {
	if s, ok := e.shapes[rel.ID]; ok && s.relation == rel {
		return s, nil
	}
	s, err := e.newShape(rel)
	if err != nil {
		return nil, err
	}
	e.shapes[rel.ID] = s
	return s, nil
}

func (e *Encoder) newShape(rel *change.Relation) (*shape, error) {
	s := &shape{
		relation: rel, own: rel.Schema == change.Own, schema: fmt.Sprintf("%016x", rel.Fingerprint),
		whole: rel.Identity == change.IdentityFull,
	}
	for _, name := range []string{rel.Schema, rel.Name} {
		if !utf8.ValidString(name) {
			return nil, fmt.Errorf("name relation %d: %w", rel.ID, errUTF8)
		}
	}
	for _, op := range []change.Op{change.Insert, change.Update, change.Delete, change.Truncate} {
		s.subjects[op] = Subject(e.prefix, e.source.Database, rel.Schema, rel.Name, op.String())
		s.heads[op] = e.head(op, rel)
	}
	for i, c := range rel.Columns {
		if !utf8.ValidString(c.Name) {
			return nil, fmt.Errorf("name column %d of relation %d: %w", i, rel.ID, errUTF8)
		}
		s.columns = append(s.columns, column{name: append(appendString(nil, []byte(c.Name)), ':'), form: formOf(c), key: c.Key})
	}
	return s, nil
}

func (e *Encoder) head(op change.Op, rel *change.Relation) []byte {
	b := append([]byte(`{"op":"`), op.String()...)
	b = appendString(append(b, `","database":`...), []byte(e.source.Database))
	b = appendString(append(b, `,"schema":`...), []byte(rel.Schema))
	b = appendString(append(b, `,"table":`...), []byte(rel.Name))
	return append(b, `,"key":`...)
}

// tableName is schema.name, each quoted as PostgreSQL does where it holds a dot or a quote, so that two tables never
// share a name.
func tableName(rel *change.Relation) string { return quoteDots(rel.Schema) + "." + quoteDots(rel.Name) }

func quoteDots(s string) string {
	if s != "" && !strings.ContainsAny(s, `."`) {
		return s
	}
	return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
}
