package check

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"tidemark/internal/position"
)

const headerPosition = "Tidemark-Position"

// message is a message of the stream.
type message struct {
	sequence uint64
	subject  string
	header   nats.Header
	data     []byte
}

// document is what a message says (docs/nats.md).
type document struct {
	Op        string                     `json:"op"`
	Database  string                     `json:"database"`
	Schema    string                     `json:"schema"`
	Table     string                     `json:"table"`
	Key       map[string]json.RawMessage `json:"key"`
	Before    map[string]json.RawMessage `json:"before"`
	After     map[string]json.RawMessage `json:"after"`
	Unchanged []string                   `json:"unchanged"`
	Rows      uint32                     `json:"rows"`
	Tables    map[string]map[string]int  `json:"tables"`
	Position  struct {
		LSN     position.LSN `json:"lsn"`
		Ordinal uint32       `json:"ordinal"`
		Rows    uint32       `json:"rows"`
	} `json:"position"`
	XID        uint32 `json:"xid"`
	CommitTime string `json:"commit_time"`
	SystemID   string `json:"system_id"`
}

func (d *document) place() position.Position {
	return position.Position{End: d.Position.LSN, Ordinal: d.Position.Ordinal}
}

func (d *document) name() string { return d.Schema + "." + d.Table }

// take checks the next message. After an error that is no Violation nothing has changed, and it can be taken again.
func (s *Stream) take(ctx context.Context, m message) error {
	var d document
	if err := json.Unmarshal(m.data, &d); err != nil {
		return Violated(streamCheck, s.at.End, "message %d behind %s is no document: %T", m.sequence, s.at, err)
	}
	for _, check := range []func(message, *document) string{s.order, s.same, s.headers, s.subject} {
		if wrong := check(m, &d); wrong != "" {
			return Violated(streamCheck, d.Position.LSN, "message %d, %s: %s", m.sequence, d.place(), wrong)
		}
	}
	if d.Op == "commit" {
		return s.end(ctx, m, &d)
	}
	c, err := s.change(&d)
	if err != nil {
		return Violated(streamCheck, d.Position.LSN, "message %d, %s of %s, %s: %v", m.sequence, d.Op, d.name(), d.place(), err)
	}
	s.at, s.open = d.place(), append(s.open, row{change: c, schema: d.Schema, table: d.Table, xid: d.XID, commit: d.CommitTime, rows: d.Position.Rows})
	return nil
}

// order says what is wrong with the message's place.
func (s *Stream) order(_ message, d *document) string {
	here := d.place()
	switch {
	case s.last > 0 && here == s.at:
		return "it is there twice"
	case s.last > 0 && here.Less(s.at):
		return fmt.Sprintf("it comes after %s", s.at)
	case len(s.open) > 0 && here.End != s.at.End:
		return fmt.Sprintf("transaction %s before it has no end marker", s.at.End)
	case len(s.open) == 0 && s.last > 0 && here.End == s.at.End:
		return "it comes after its transaction's end marker"
	case d.Op != "commit" && here.Ordinal != uint32(len(s.open)):
		return fmt.Sprintf("ordinal %d is due", len(s.open))
	case d.Op != "commit" && here.Ordinal >= d.Position.Rows:
		return fmt.Sprintf("its transaction has %d rows only", d.Position.Rows)
	}
	return ""
}

// same says what differs from the messages before.
func (s *Stream) same(_ message, d *document) string {
	if s.last == 0 {
		s.system, s.database = d.SystemID, d.Database
	}
	switch {
	case d.SystemID == "" || d.SystemID != s.system:
		return fmt.Sprintf("it is of system %q, others are of %q", d.SystemID, s.system)
	case d.Database == "" || d.Database != s.database:
		return fmt.Sprintf("it is of database %q, others are of %q", d.Database, s.database)
	}
	for _, r := range s.open[:min(1, len(s.open))] {
		if r.xid != d.XID || r.commit != d.CommitTime || r.rows != d.Position.Rows {
			return "xid, commit time or rows are not those of its transaction's first message"
		}
	}
	return ""
}

// headers says which header does not agree with the document.
func (s *Stream) headers(m message, d *document) string {
	want := map[string]string{
		"Nats-Msg-Id":          fmt.Sprintf("%s/%s/%d", d.SystemID, d.Position.LSN, d.Position.Ordinal),
		headerPosition:         d.place().String(),
		"Tidemark-Xid":         strconv.FormatUint(uint64(d.XID), 10),
		"Tidemark-Commit-Time": d.CommitTime,
		"Content-Type":         "application/json",
	}
	for name, value := range want {
		if got := m.header.Get(name); got != value {
			return fmt.Sprintf("header %s is %q, the document says %q", name, got, value)
		}
	}
	schema := m.header.Get("Tidemark-Schema")
	if _, err := strconv.ParseUint(schema, 16, 64); d.Op != "commit" && (err != nil || len(schema) != 16) {
		return fmt.Sprintf("header Tidemark-Schema is %q", schema)
	}
	return ""
}

// subject says what is wrong with the subject. The prefix is the first message's.
func (s *Stream) subject(m message, d *document) string {
	want := "." + token(d.Database) + "._commit"
	if d.Op != "commit" {
		want = "." + token(d.Database) + "." + token(d.Schema) + "." + token(d.Table) + "." + d.Op
	}
	prefix, ok := strings.CutSuffix(m.subject, want)
	if s.last == 0 {
		s.prefix = prefix
	}
	if !ok || prefix == "" || prefix != s.prefix {
		return fmt.Sprintf("its subject is %q, want %q", m.subject, s.prefix+want)
	}
	return ""
}

// token writes a name as one token of a subject.
func token(name string) string {
	if name == "" {
		return "%"
	}
	var b strings.Builder
	for _, c := range []byte(name) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

// commitTime reads a commit time, which has six decimals.
func commitTime(s string) (time.Time, error) { return time.Parse("2006-01-02T15:04:05.000000Z", s) }
