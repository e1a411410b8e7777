package sinktest

import (
	"encoding/binary"

	"tidemark/internal/position"
	"tidemark/internal/segment"
)

// Table is a table of text columns; the first one is its key.
type Table struct {
	ID      uint32
	Schema  string
	Name    string
	Columns []string
}

// The tables that the suite's transactions write. A target that needs tables made beforehand makes them: all columns
// are text, the first is the primary key. Rows has the position of each row, in its text form, as the key.
var (
	Rows  = Table{ID: 16384, Schema: "public", Name: "sinktest", Columns: []string{"position", "note"}}
	Other = Table{ID: 16390, Schema: "public", Name: "sinktest_other", Columns: []string{"position"}}
	// Own stands for Tidemark's own bookkeeping, which sinks leave out.
	Own = Table{ID: 16400, Schema: "tidemark", Name: "heartbeat", Columns: []string{"position"}}
)

const textOID = 25

// Relation is the pgoutput message that defines the table, protocol version 1:
// https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
func (t Table) Relation() []byte {
	m := binary.BigEndian.AppendUint32([]byte{'R'}, t.ID)
	m = appendString(m, t.Schema)
	m = appendString(m, t.Name)
	m = append(m, 'd')
	m = binary.BigEndian.AppendUint16(m, uint16(len(t.Columns)))
	for i, c := range t.Columns {
		key := byte(0)
		if i == 0 {
			key = 1
		}
		m = append(m, key)
		m = appendString(m, c)
		m = binary.BigEndian.AppendUint32(m, textOID)
		m = binary.BigEndian.AppendUint32(m, 0xFFFFFFFF)
	}
	return m
}

// Insert is the pgoutput message of an inserted row; one value per column, as text.
func (t Table) Insert(values ...string) []byte {
	m := binary.BigEndian.AppendUint32([]byte{'I'}, t.ID)
	m = append(m, 'N')
	m = binary.BigEndian.AppendUint16(m, uint16(len(values)))
	for _, v := range values {
		m = append(m, 't')
		m = binary.BigEndian.AppendUint32(m, uint32(len(v)))
		m = append(m, v...)
	}
	return m
}

// Row is the insert that marks a position in the table.
func (t Table) Row(p position.Position) []byte {
	values := make([]string, len(t.Columns))
	values[0] = p.String()
	for i := 1; i < len(values); i++ {
		values[i] = "note of " + p.String()
	}
	return t.Insert(values...)
}

// Define is the frame that defines the table.
func (t Table) Define() segment.Frame {
	return segment.Frame{Kind: segment.Definition, Relation: t.ID, Payload: segment.AppendMessage(nil, t.Relation())}
}

func appendString(m []byte, s string) []byte { return append(append(m, s...), 0) }
