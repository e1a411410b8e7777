package change

import (
	"bytes"
	"fmt"
)

// Op is what a row change does.
type Op uint8

// The four operations of logical replication.
const (
	Insert Op = iota + 1
	Update
	Delete
	Truncate
)

// String gives the lower-case name used in subjects, metrics and output.
func (o Op) String() string {
	switch o {
	case Insert:
		return "insert"
	case Update:
		return "update"
	case Delete:
		return "delete"
	case Truncate:
		return "truncate"
	}
	return fmt.Sprintf("op(%d)", uint8(o))
}

// Identity is a relation's replica identity: what the source sends of the old row.
type Identity byte

// The four replica identities, by PostgreSQL's own letters (pg_class.relreplident).
const (
	IdentityDefault Identity = 'd'
	IdentityNothing Identity = 'n'
	IdentityFull    Identity = 'f'
	IdentityIndex   Identity = 'i'
)

// Column is one published column of a relation, in the order of its values in a row.
type Column struct {
	Name string
	// Key is set when the column is part of the replica identity. Under IdentityFull every column has it.
	Key bool
	// Type is the type's OID on the source; OIDs of user-made types differ from server to server.
	Type uint32
	// TypeName is schema-qualified and set for user-made types only. For a domain it is the base type's name.
	TypeName string
	// TypeMod is pg_attribute.atttypmod, -1 for none.
	TypeMod int32
}

// Relation is a table's definition as the source sent it. It is never changed after it was made: a new definition is
// a new Relation, so holders may compare pointers.
type Relation struct {
	ID       uint32
	Schema   string
	Name     string
	Identity Identity
	Columns  []Column
	// Fingerprint identifies the definition (relation message with its type messages): equal definitions have equal fingerprints.
	Fingerprint uint64
}

// String gives schema.name, unquoted, for messages.
func (r *Relation) String() string { return r.Schema + "." + r.Name }

// Kind is how a value was sent.
type Kind byte

// The value kinds, by the protocol's own letters.
const (
	Null      Kind = 'n'
	Unchanged Kind = 'u' // an unchanged TOAST value: not sent, and not NULL
	Text      Kind = 't'
	Binary    Kind = 'b'
)

// Value is one column's value. Data is set for Text and Binary only.
type Value struct {
	Kind Kind
	Data []byte
}

// Row is one change. Its slices are valid until the decoder's next step; a holder that keeps a Row copies it with Clone.
type Row struct {
	// Ordinal counts the changes of a transaction from 0. A truncate of n relations takes n ordinals, the first is here.
	Ordinal  uint32
	Op       Op
	Relation *Relation // nil for Truncate
	// Old is the old tuple, nil when the source sent none. With OldKey only key columns hold values, and the Null
	// kind of the others is a placeholder that does not mean NULL.
	Old    []Value
	OldKey bool
	// New is the new tuple of an insert or update. A value of kind Unchanged must be taken from Old where Old has
	// it, and left alone on the target otherwise.
	New []Value
	// Truncated lists the relations of a truncate.
	Truncated       []*Relation
	Cascade         bool
	RestartIdentity bool
}

// Clone returns a copy that shares no memory with r, except relations, which never change.
func (r Row) Clone() Row {
	r.Old, r.New = cloneValues(r.Old), cloneValues(r.New)
	r.Truncated = append([]*Relation(nil), r.Truncated...)
	return r
}

func cloneValues(vs []Value) []Value {
	if vs == nil {
		return nil
	}
	out := make([]Value, len(vs))
	for i, v := range vs {
		out[i] = Value{Kind: v.Kind, Data: bytes.Clone(v.Data)} // an empty text stays non-nil: to pgx nil means NULL
	}
	return out
}

// Identify returns the values that find the row on a target, indexed like Columns: the old tuple where the source
// sent one, otherwise the new one, in which the key did not change. Nil for an insert.
func (r Row) Identify() []Value {
	if r.Op == Insert || r.Op == Truncate {
		return nil
	}
	if r.Old != nil {
		return r.Old
	}
	return r.New
}

// Own is the schema of Tidemark's own tables on source and standby. Rows of its tables are bookkeeping: sinks do not
// hand them on.
const Own = "tidemark"
