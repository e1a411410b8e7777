package event

import (
	"fmt"
	"strconv"
	"unicode/utf8"

	"tidemark/internal/change"
	"tidemark/internal/position"
)

// Encoder writes changes as messages. It remembers what a relation's messages share, and counts a transaction's
// changes for its end marker. One goroutine at a time may use it.
type Encoder struct {
	source Source
	prefix string
	shapes map[uint32]*shape

	tx         Transaction
	seen       uint32
	generation uint64 // of the transaction, to tell stale counts
	touched    []*shape
	end        string // the end LSN in text
	xid        string
	commitTime string
	tail       []byte // the document from the rows of the position on

	scratch []byte
}

// NewEncoder checks that the names can be written and returns an encoder that publishes below prefix.
func NewEncoder(source Source, prefix string) (*Encoder, error) {
	if err := CheckPrefix(prefix); err != nil {
		return nil, err
	}
	if !utf8.ValidString(source.Database) || !utf8.ValidString(source.SystemID) {
		return nil, fmt.Errorf("name the source: %w", errUTF8)
	}
	return &Encoder{source: source, prefix: prefix, shapes: map[uint32]*shape{}}, nil
}

// Begin starts a transaction, and is called before any other method, whether or not the one before was finished.
func (e *Encoder) Begin(tx Transaction) {
	e.tx, e.seen, e.touched = tx, 0, e.touched[:0]
	e.generation++
	e.end, e.commitTime = tx.End.String(), tx.Time.String()
	e.xid = strconv.FormatUint(uint64(tx.Xid), 10)
	b := append(e.tail[:0], `,"rows":`...)
	b = strconv.AppendUint(b, uint64(tx.Rows), 10)
	b = append(append(b, `},"xid":`...), e.xid...)
	b = append(append(b, `,"commit_time":"`...), e.commitTime...)
	b = appendString(append(b, `","system_id":`...), []byte(e.source.SystemID))
	e.tail = append(b, '}')
}

// Row appends the messages of the transaction's next change to into: one, or for a truncate one per relation with
// consecutive ordinals, and none for Tidemark's own tables. Where into has room, the Data of the messages that stood
// there is reused: who still holds them gives fresh messages.
//
// The error is ErrUnencodable where the row cannot be written as JSON; it names relation and column.
func (e *Encoder) Row(into []Message, row change.Row) ([]Message, error) {
	if row.Op == change.Truncate {
		return e.truncate(into, row)
	}
	if err := check(row); err != nil {
		return into, fmt.Errorf("encode change %s:%d: %w", e.end, row.Ordinal, err)
	}
	s, err := e.count(row.Op, row.Relation)
	if err != nil || s.own {
		return into, err
	}
	into, m := grow(into)
	e.envelope(m, s, row.Op, row.Ordinal)
	b, err := e.document(append(m.Data[:0], s.heads[row.Op]...), s, row)
	if err != nil {
		return into[:len(into)-1], fmt.Errorf("encode change %s:%d, %s of %s: %w", e.end, row.Ordinal, row.Op, row.Relation, err)
	}
	m.Data = e.finish(b, row.Ordinal)
	return into, nil
}

// check refuses a row that no decoder gives.
func check(row change.Row) error {
	if row.Relation == nil || row.Op < change.Insert || row.Op > change.Delete {
		return fmt.Errorf("%s is no row of a relation", row.Op)
	}
	n := len(row.Relation.Columns)
	if row.Op != change.Delete && len(row.New) != n || row.Op == change.Delete && len(row.Old) != n || row.Old != nil && len(row.Old) != n {
		return fmt.Errorf("%s of %s has %d old and %d new columns, its relation has %d", row.Op, row.Relation, len(row.Old), len(row.New), n)
	}
	return nil
}

// Skip counts a change without encoding it: for a publisher that resumes within a transaction.
func (e *Encoder) Skip(row change.Row) error {
	if row.Op != change.Truncate {
		_, err := e.count(row.Op, row.Relation)
		return err
	}
	for _, rel := range row.Truncated {
		if _, err := e.count(change.Truncate, rel); err != nil {
			return err
		}
	}
	return nil
}

func (e *Encoder) truncate(into []Message, row change.Row) ([]Message, error) {
	for i, rel := range row.Truncated {
		s, err := e.count(change.Truncate, rel)
		if err != nil {
			return into, err
		}
		if s.own {
			continue
		}
		ordinal := row.Ordinal + uint32(i)
		var m *Message
		into, m = grow(into)
		e.envelope(m, s, change.Truncate, ordinal)
		b := append(m.Data[:0], s.heads[change.Truncate]...)
		m.Data = e.finish(append(b, `{},"before":null,"after":null,"unchanged":[]`...), ordinal)
	}
	return into, nil
}

func (e *Encoder) count(op change.Op, rel *change.Relation) (*shape, error) {
	s, err := e.shape(rel)
	if err != nil {
		return nil, err
	}
	if s.generation != e.generation {
		s.generation, s.counts = e.generation, [len(s.counts)]uint32{}
		e.touched = append(e.touched, s)
	}
	s.counts[op]++
	e.seen++
	return s, nil
}

// grow lengthens a slice of messages by one, keeping the buffer of the message that stood there.
func grow(into []Message) ([]Message, *Message) {
	if n := len(into); n < cap(into) {
		into = into[:n+1]
	} else {
		into = append(into, Message{})
	}
	return into, &into[len(into)-1]
}

func (e *Encoder) envelope(m *Message, s *shape, op change.Op, ordinal uint32) {
	m.Subject = s.subjects[op]
	m.Header = e.header(ordinal)
	m.Header.Schema = s.schema
}

func (e *Encoder) header(ordinal uint32) Header {
	// One string for both: ‹system id›/‹end›/‹ordinal› and ‹end›:‹ordinal›.
	var buf [96]byte
	b := append(append(append(buf[:0], e.source.SystemID...), '/'), e.end...)
	b = strconv.AppendUint(append(b, '/'), uint64(ordinal), 10)
	n := len(b)
	b = append(append(b, e.end...), ':')
	b = strconv.AppendUint(b, uint64(ordinal), 10)
	both := string(b)
	return Header{ID: both[:n], Position: both[n:], Xid: e.xid, CommitTime: e.commitTime, ContentType: ContentJSON}
}

// finish appends position, transaction and source.
func (e *Encoder) finish(b []byte, ordinal uint32) []byte {
	b = append(append(b, `,"position":{"lsn":"`...), e.end...)
	b = strconv.AppendUint(append(b, `","ordinal":`...), uint64(ordinal), 10)
	return append(b, e.tail...)
}

// Position is where the transaction's end marker stands: behind its last row.
func (tx Transaction) Position() position.Position {
	return position.Position{End: tx.End, Ordinal: tx.Rows}
}
