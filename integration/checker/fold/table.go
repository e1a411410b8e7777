package fold

import (
	"crypto/md5"
	"encoding/binary"
	"strconv"
)

// Identity is how a change names the row that it concerns.
type Identity byte

// The identities. Keyed is DEFAULT and USING INDEX, and FULL for a table that is also keyed; Full has no key; None allows inserts only.
const (
	Keyed Identity = iota
	Full
	None
)

// Value is a value's text; nil is NULL.
type Value = *string

// Column is a column that holds a value of its own: generated columns are left out. Type is format_type(atttypid, null).
type Column struct{ Name, Type string }

// Table is a plain table or the leaf of a partitioned one.
type Table struct {
	Schema, Name string
	Columns      []Column
	Key          []int // indexes into Columns; set if and only if Identity is Keyed
	Identity     Identity
}

// String returns schema.name, unquoted: the name under which changes and sums are kept.
func (t Table) String() string { return t.Schema + "." + t.Name }

// Canonical returns the text of a row, or of its key columns, that is hashed.
func Canonical(values []Value, columns ...int) string {
	var b []byte
	put := func(v Value) {
		if v == nil {
			b = append(b, '-')
			return
		}
		b = strconv.AppendInt(b, int64(len(*v)), 10)
		b = append(append(b, ':'), *v...)
	}
	if columns == nil {
		for _, v := range values {
			put(v)
		}
	}
	for _, c := range columns {
		put(values[c])
	}
	return string(b)
}

// Hash is the hash of a row's canonical text: the first eight bytes of its MD5, which PostgreSQL can compute too.
func Hash(canonical string) uint64 {
	sum := md5.Sum([]byte(canonical))
	return binary.BigEndian.Uint64(sum[:])
}

// Sum is what a table holds: its rows, and the sum of their hashes modulo 2⁶⁴.
type Sum struct {
	Rows int64
	Hash uint64
}

func (s *Sum) add(hash uint64)    { s.Rows++; s.Hash += hash }
func (s *Sum) remove(hash uint64) { s.Rows--; s.Hash -= hash }
