package apply

import "tidemark/internal/change"

// Bindings remembers by which table of the source each table of the target is fed. A name is not enough: a table that was
// dropped and made again, or renamed, on the source may have the columns of the one before, and its rows would land among that one's.
// One Applier uses it at a time. It does not outlive the process.
type Bindings struct {
	fedBy map[uint32]uint32 // OID on the target to OID on the source
}

// bind notes that relation rel feeds a table of the target, or says that another one does.
func (b *Bindings) bind(rel *change.Relation, table uint32) error {
	if before, ok := b.fedBy[table]; ok && before != rel.ID {
		return &MismatchError{Table: rel.String(), Problem: "holds the rows of another table of the source: there it was dropped and made again, or renamed"}
	}
	if b.fedBy == nil {
		b.fedBy = map[uint32]uint32{}
	}
	b.fedBy[table] = rel.ID
	return nil
}
