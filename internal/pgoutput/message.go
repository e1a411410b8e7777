package pgoutput

import (
	"encoding/binary"
	"fmt"

	"tidemark/internal/position"
)

// The message kinds of protocol version 1: the first byte of a message.
const (
	KindBegin    byte = 'B'
	KindCommit   byte = 'C'
	KindOrigin   byte = 'O'
	KindRelation byte = 'R'
	KindType     byte = 'Y'
	KindInsert   byte = 'I'
	KindUpdate   byte = 'U'
	KindDelete   byte = 'D'
	KindTruncate byte = 'T'
	KindMessage  byte = 'M' // a logical decoding message, sent only when asked for
)

// Begin opens a transaction.
type Begin struct {
	// Commit is the start LSN of the transaction's commit record, which the protocol calls its final LSN.
	Commit position.LSN
	Time   position.Time
	// Xid is 32 bits and wraps around.
	Xid uint32
}

// ParseBegin reads a whole 'B' message.
func ParseBegin(msg []byte) (Begin, error) {
	r := open(msg, KindBegin)
	b := Begin{Commit: position.LSN(r.u64()), Time: position.Time(r.u64()), Xid: r.u32()}
	if err := r.end(); err != nil {
		return Begin{}, fmt.Errorf("parse begin: %w", err)
	}
	return b, nil
}

// Commit closes a transaction.
type Commit struct {
	// Commit is the start LSN of the commit record, the same as in Begin.
	Commit position.LSN
	// End is the LSN after the commit record: the transaction's place in the order of all.
	End  position.LSN
	Time position.Time
}

// ParseCommit reads a whole 'C' message.
func ParseCommit(msg []byte) (Commit, error) {
	r := open(msg, KindCommit)
	if r.u8() != 0 {
		r.fail(errFlags)
	}
	c := Commit{Commit: position.LSN(r.u64()), End: position.LSN(r.u64()), Time: position.Time(r.u64())}
	if err := r.end(); err != nil {
		return Commit{}, fmt.Errorf("parse commit: %w", err)
	}
	return c, nil
}

// RowRelation gives the relation id of an insert, update or delete message. It looks at nothing behind it.
func RowRelation(msg []byte) (uint32, error) {
	if len(msg) == 0 || msg[0] != KindInsert && msg[0] != KindUpdate && msg[0] != KindDelete {
		return 0, fmt.Errorf("parse row: %w", errKind)
	}
	if len(msg) < 5 {
		return 0, fmt.Errorf("parse row: %w", errShort)
	}
	return binary.BigEndian.Uint32(msg[1:]), nil
}

// TruncateRelations appends the relation ids of a 'T' message to into.
func TruncateRelations(msg []byte, into []uint32) ([]uint32, error) {
	_, into, err := parseTruncate(msg, into)
	return into, err
}

// Truncate options, by the protocol's bits.
const (
	truncateCascade         = 1
	truncateRestartIdentity = 2
)

func parseTruncate(msg []byte, into []uint32) (options byte, ids []uint32, err error) {
	r := open(msg, KindTruncate)
	n := r.u32()
	options = r.u8()
	if n == 0 {
		r.fail(errNoRelation)
	}
	for ; n > 0 && r.err == nil; n-- {
		into = append(into, r.u32())
	}
	if err := r.end(); err != nil {
		return 0, into, fmt.Errorf("parse truncate: %w", err)
	}
	return options, into, nil
}

// origin is where a transaction was first committed, when it came to the source by replication.
type origin struct {
	commit position.LSN
	name   string
}

func parseOrigin(msg []byte) (origin, error) {
	r := open(msg, KindOrigin)
	o := origin{commit: position.LSN(r.u64()), name: string(r.text())}
	if err := r.end(); err != nil {
		return origin{}, fmt.Errorf("parse origin: %w", err)
	}
	return o, nil
}
