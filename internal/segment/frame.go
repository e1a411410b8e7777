package segment

import (
	"tidemark/internal/position"
)

// Kind tells what a frame holds.
type Kind uint8

// The frame kinds.
const (
	Definition Kind = 1 // the definition of a relation
	Part       Kind = 2 // a transaction, or a numbered part of a large one
	Seal       Kind = 3 // the end of a closed segment
)

// Rows counts a part's changes in one relation.
type Rows struct {
	Relation  uint32
	Inserts   uint32
	Updates   uint32
	Deletes   uint32
	Truncates uint32
}

// Total is the sum of the four counts.
func (r Rows) Total() uint32 { return r.Inserts + r.Updates + r.Deletes + r.Truncates }

// Frame is one frame, decoded except for its payload. doc.go says what each field means on disk.
type Frame struct {
	Kind  Kind
	First bool
	Last  bool
	// Relation is a definition's relation id.
	Relation uint32
	// Xid is a part's transaction id: 32 bits, wraps around, never an identity.
	Xid uint32
	// Number of the part in its transaction, from 0.
	Number uint32
	// Ordinal of the part's first change; Count changes follow.
	Ordinal uint32
	Count   uint32
	Synced  uint64
	// Commit is the start LSN of the commit record, known from the first part on.
	Commit position.LSN
	// End is the transaction's end LSN. On disk only the last part has it; journal readers fill it in for every part.
	End position.LSN
	// Total is the number of changes in the whole transaction. It is not on disk: journal readers fill it in for
	// every part; elsewhere it is Ordinal+Count of the last part.
	Total uint32
	Time  position.Time
	// Meta lists the part's rows per relation.
	Meta []Rows
	// Payload is valid until the reader's next step.
	Payload []byte
}

// Frontier makes the frame that says: everything that ends at or below end stands before here. It is a transaction
// without changes and without a number (0 is no transaction id of PostgreSQL). seen is the source's clock when it said so.
func Frontier(end position.LSN, seen position.Time) Frame {
	return Frame{Kind: Part, First: true, Last: true, Commit: end - 1, End: end, Time: seen}
}

// IsFrontier reports whether the frame is a frontier: its time is no commit time.
func (f *Frame) IsFrontier() bool {
	return f.Kind == Part && f.Xid == 0 && f.Count == 0 && f.Number == 0
}

// Define is the definition of a relation as a part needs it.
type Define struct {
	Relation uint32
	// Fingerprint tells definitions of one relation apart: equal payloads have equal fingerprints.
	Fingerprint uint64
	// Payload holds the type messages and the relation message, each behind its length.
	Payload []byte
}

// Append is what capture hands to the journal: one part of a transaction with the definitions that it needs.
type Append struct {
	// Frame has Kind Part. Synced is set by the journal.
	Frame Frame
	// Defines holds the definition of every relation in Frame.Meta, as valid for this part. The journal writes those which
	// its current segment does not hold yet.
	Defines []Define
}
