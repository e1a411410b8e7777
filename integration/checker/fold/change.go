package fold

import (
	"time"

	"tidemark/internal/position"
)

// Op is what a change does.
type Op byte

// The operations.
const (
	Insert Op = iota
	Update
	Delete
	Truncate
)

// String returns the operation's name as in a subject.
func (o Op) String() string { return [...]string{"insert", "update", "delete", "truncate"}[o] }

// Change is one row's change, or a table's truncation. Values are by column index of its table.
type Change struct {
	Op    Op
	Table string
	// Old is what the decoder says of the row before, and OldSet which of its columns it says. Without it an update
	// concerns the row with the key of New.
	Old    []Value
	OldSet []bool
	// New is the row after, except the columns in Unchanged, which keep their value.
	New       []Value
	Unchanged []bool
}

// Transaction is a committed transaction. End is the LSN behind its commit record, Commit its time in microseconds.
type Transaction struct {
	End    position.LSN
	XID    uint32
	Commit time.Time
	// Published says that it changed something in the publication, Tidemark's own tables included.
	Published bool
	Changes   []Change
}

// Count is how many changes of one kind a transaction made in one table.
type Count struct {
	Table string
	Op    Op
	N     int
}

// Counts counts a transaction's changes, in order of first appearance.
func (tx Transaction) Counts() []Count {
	var out []Count
next:
	for _, c := range tx.Changes {
		for i := range out {
			if out[i].Table == c.Table && out[i].Op == c.Op {
				out[i].N++
				continue next
			}
		}
		out = append(out, Count{Table: c.Table, Op: c.Op, N: 1})
	}
	return out
}
