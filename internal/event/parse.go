package event

import (
	"encoding/json"
	"fmt"
	"time"

	"tidemark/internal/position"
)

// Envelope is a document as a subscriber reads it. Values stay JSON: a number above 2^53 in a json column must not pass
// through a float.
type Envelope struct {
	// Op is insert, update, delete, truncate, read or commit.
	Op       string `json:"op"`
	Database string `json:"database"`
	Schema   string `json:"schema"`
	Table    string `json:"table"`
	// Key is empty when the source does not tell it.
	Key map[string]json.RawMessage `json:"key"`
	// Before and After are nil where the document says null.
	Before    map[string]json.RawMessage `json:"before"`
	After     map[string]json.RawMessage `json:"after"`
	Unchanged []string                   `json:"unchanged"`
	Position  Place                      `json:"position"`
	// Rows and Tables are set for a commit: changes in all, and published changes by table and operation.
	Rows       uint32                       `json:"rows"`
	Tables     map[string]map[string]uint32 `json:"tables"`
	Xid        uint32                       `json:"xid"`
	CommitTime time.Time                    `json:"commit_time"`
	SystemID   string                       `json:"system_id"`
}

// Place is a document's position.
type Place struct {
	LSN     position.LSN `json:"lsn"`
	Ordinal uint32       `json:"ordinal"`
	// Rows is the number of changes in the whole transaction.
	Rows uint32 `json:"rows"`
}

// Position gives the place in the order of all changes.
func (p Place) Position() position.Position { return position.Position{End: p.LSN, Ordinal: p.Ordinal} }

// Parse reads a document in JSON form. Its error does not quote the document.
func Parse(data []byte) (*Envelope, error) {
	var e Envelope
	if err := json.Unmarshal(data, &e); err != nil {
		return nil, fmt.Errorf("parse event of %d bytes: it is not a document of ours", len(data))
	}
	if e.Op != OpCommit && !knownOp(e.Op) {
		return nil, fmt.Errorf("parse event of %d bytes: unknown operation", len(data))
	}
	return &e, nil
}
