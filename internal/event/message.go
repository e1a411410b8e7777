package event

import (
	"fmt"
	"iter"
	"strconv"
	"strings"

	"tidemark/internal/position"
	"tidemark/internal/segment"
)

// Source names where changes come from.
type Source struct {
	// SystemID is the cluster's system identifier, in decimal digits.
	SystemID string
	Database string
}

// Transaction is what every message of a transaction repeats.
type Transaction struct {
	// Xid is 32 bits and wraps around: it names a transaction for people, and identifies nothing.
	Xid uint32
	// Commit is the start LSN of the commit record, End the transaction's place in the order of all.
	Commit, End position.LSN
	Time        position.Time
	// Rows is the number of changes in the whole transaction, those of Tidemark's own tables included.
	Rows uint32
}

// TransactionOf takes the transaction from any of its parts as a journal reader gives them (End and Total filled in).
func TransactionOf(f *segment.Frame) Transaction {
	return Transaction{Xid: f.Xid, Commit: f.Commit, End: f.End, Time: f.Time, Rows: f.Total}
}

// Message is what is published.
type Message struct {
	Subject string
	Header  Header
	// Data is a JSON document.
	Data []byte
}

// The names of the headers. HeaderID is NATS's own name for the identity by which a stream refuses duplicates.
const (
	HeaderID          = "Nats-Msg-Id"
	HeaderPosition    = "Tidemark-Position"
	HeaderXid         = "Tidemark-Xid"
	HeaderCommitTime  = "Tidemark-Commit-Time"
	HeaderSchema      = "Tidemark-Schema"
	HeaderContentType = "Content-Type"
)

// ContentJSON is the content type of the JSON form.
const ContentJSON = "application/json"

// Header holds a message's headers.
type Header struct {
	// ID is ‹system id›/‹end LSN›/‹ordinal›.
	ID string
	// Position is position.Position's text form.
	Position string
	Xid      string
	// CommitTime is RFC 3339 in UTC with microseconds.
	CommitTime string
	// Schema is the relation's fingerprint in 16 hexadecimal digits; empty, and left out, for a transaction's end.
	Schema      string
	ContentType string
}

// Fields gives the names and values of the headers to send, in a fixed order.
func (h *Header) Fields() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		_ = yield(HeaderID, h.ID) && yield(HeaderPosition, h.Position) && yield(HeaderXid, h.Xid) &&
			yield(HeaderCommitTime, h.CommitTime) && (h.Schema == "" || yield(HeaderSchema, h.Schema)) &&
			yield(HeaderContentType, h.ContentType)
	}
}

// ParsePosition reads a message's position from its headers, whose type is that of nats.Header.
func ParsePosition(h map[string][]string) (position.Position, error) {
	values := h[HeaderPosition]
	if len(values) != 1 {
		return position.Position{}, fmt.Errorf("read position of a message: %d headers %s", len(values), HeaderPosition)
	}
	return position.Parse(values[0])
}

// FormatID is the identity of a message: ‹system id›/‹end LSN›/‹ordinal›, such as 7301234567890123456/0/16B3748/3.
func FormatID(systemID string, p position.Position) string {
	return systemID + "/" + p.End.String() + "/" + strconv.FormatUint(uint64(p.Ordinal), 10)
}

// ParseID undoes FormatID: what a resuming publisher reads to be sure that a stream holds its own source's changes.
func ParseID(id string) (systemID string, p position.Position, err error) {
	i := strings.LastIndexByte(id, '/')
	j := strings.IndexByte(id, '/')
	if i <= j {
		return "", p, fmt.Errorf("parse message id %q: want ‹system id›/‹end LSN›/‹ordinal›", id)
	}
	if p, err = position.Parse(id[j+1:i] + ":" + id[i+1:]); err != nil {
		return "", p, fmt.Errorf("parse message id %q: %w", id, err)
	}
	return id[:j], p, nil
}
