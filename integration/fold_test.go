package integration

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidemark/internal/position"
)

// message is what a subscriber reads of the stream's documents (docs/nats.md).
type message struct {
	Op        string
	Schema    string
	Table     string
	Key       map[string]json.RawMessage
	Before    map[string]json.RawMessage
	After     map[string]json.RawMessage
	Unchanged []string
	Position  struct {
		LSN     position.LSN
		Ordinal uint32
		Rows    uint32
	}
	CommitTime time.Time `json:"commit_time"`
	SystemID   string    `json:"system_id"`
	Tables     map[string]map[string]int
}

// transaction is a whole transaction of the stream.
type transaction struct {
	end     position.LSN
	commit  time.Time
	changes []message
}

// readStream reads the stream from its beginning to its present end and hands over whole transactions. It checks that
// every identity is there once and in order, that the headers agree with the documents, and that the end markers count right.
func readStream(t testing.TB, url, stream string, take func(transaction)) (messages int) {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	s, err := js.Stream(ctx, stream)
	if err != nil {
		t.Fatal(err)
	}
	last := s.CachedInfo().State.LastSeq
	consumer, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		t.Fatal(err)
	}
	iterator, err := consumer.Messages()
	if err != nil {
		t.Fatal(err)
	}
	defer iterator.Stop()
	var at position.Position
	var open transaction
	for sequence := uint64(0); sequence < last; messages++ {
		raw, err := iterator.Next()
		if err != nil {
			t.Fatal(err)
		}
		meta, err := raw.Metadata()
		if err != nil {
			t.Fatal(err)
		}
		sequence = meta.Sequence.Stream
		var m message
		if err := json.Unmarshal(raw.Data(), &m); err != nil {
			t.Fatalf("message %d: %v", sequence, err)
		}
		here := position.Position{End: m.Position.LSN, Ordinal: m.Position.Ordinal}
		if messages > 0 && !at.Less(here) {
			t.Fatalf("message %d is at %s, after %s", sequence, here, at)
		}
		at = here
		if id := fmt.Sprintf("%s/%s/%d", m.SystemID, here.End, here.Ordinal); raw.Headers().Get("Nats-Msg-Id") != id || raw.Headers().Get("Tidemark-Position") != here.String() {
			t.Fatalf("message %d has id %q, want %q", sequence, raw.Headers().Get("Nats-Msg-Id"), id)
		}
		if len(open.changes) > 0 && open.end != here.End {
			t.Fatalf("transaction %s has no end marker before %s", open.end, here)
		}
		open.end = here.End
		if m.Op != "commit" {
			open.changes = append(open.changes, m)
			continue
		}
		open.commit = m.CommitTime
		if err := counted(open, m); err != nil {
			t.Fatalf("transaction %s: %v", open.end, err)
		}
		take(open)
		open = transaction{}
	}
	if len(open.changes) > 0 {
		t.Errorf("the stream ends inside transaction %s", open.end)
	}
	return messages
}

// counted compares a transaction with what its end marker says.
func counted(tx transaction, marker message) error {
	got := map[string]int{}
	for _, m := range tx.changes {
		got[quoted(m.Schema)+"."+quoted(m.Table)+" "+m.Op]++
	}
	for name, ops := range marker.Tables {
		for op, n := range ops {
			if got[name+" "+op] != n {
				return fmt.Errorf("%d changes %s of %s, the marker says %d", got[name+" "+op], op, name, n)
			}
			delete(got, name+" "+op)
		}
	}
	if len(got) > 0 {
		return fmt.Errorf("the marker does not know %v", got)
	}
	return nil
}

func quoted(name string) string {
	if strings.ContainsAny(name, `."`) {
		return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
	}
	return name
}

// fold is the stream folded back into tables. Values are PostgreSQL's text.
type fold struct {
	from   position.LSN // transactions that end at or below it are in the rows that it began with
	tables map[string]*folded
}

type folded struct {
	table
	rows map[string][]*string // by key
	bag  map[string]int       // under FULL: each row, encoded, and how often it is there
}

// newFold begins with the rows of a snapshot.
func newFold(t testing.TB, begin truth) *fold {
	t.Helper()
	f := &fold{from: begin.lsn, tables: map[string]*folded{}}
	for _, tb := range tables(t, begin.conn) {
		into := &folded{table: tb, rows: map[string][]*string{}, bag: map[string]int{}}
		f.tables[tb.String()] = into
		rows, err := begin.conn.Query(t.Context(), "select array["+tb.list("%s::text")+"] from only "+tb.ident())
		if err != nil {
			t.Fatal(err)
		}
		var values []*string
		_, err = pgx.ForEachRow(rows, []any{&values}, func() error {
			into.put(slices.Clone(values))
			values = nil
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// apply takes a whole transaction.
func (f *fold) apply(tx transaction) error {
	if tx.end <= f.from {
		return nil
	}
	for _, m := range tx.changes {
		tb, ok := f.tables[m.Schema+"."+m.Table]
		if !ok {
			return fmt.Errorf("%s is a table that the primary does not have", m.Schema+"."+m.Table)
		}
		if err := tb.apply(m); err != nil {
			return fmt.Errorf("%s of %s at %s:%d: %w", m.Op, tb.table, tx.end, m.Position.Ordinal, err)
		}
	}
	return nil
}

var errNoRow = errors.New("there is no such row")

func (tb *folded) apply(m message) error {
	if m.Op == "truncate" {
		tb.rows, tb.bag = map[string][]*string{}, map[string]int{}
		return nil
	}
	var old []*string
	if m.Op != "insert" {
		find := m.Key
		if m.Before != nil {
			find = m.Before
		}
		var err error
		if old, err = tb.take(find); err != nil {
			return err
		}
	}
	if m.Op == "delete" {
		return nil
	}
	values := make([]*string, len(tb.columns))
	for i, name := range tb.columns {
		raw, ok := m.After[name]
		switch {
		case slices.Contains(m.Unchanged, name) && old != nil && !ok:
			values[i] = old[i]
		case !ok:
			return fmt.Errorf("column %s is missing", name)
		default:
			var err error
			if values[i], err = text(raw, tb.types[i]); err != nil {
				return fmt.Errorf("column %s: %w", name, err)
			}
		}
	}
	return tb.put(values)
}

// take removes the row that a change concerns and returns it.
func (tb *folded) take(find map[string]json.RawMessage) ([]*string, error) {
	values := make([]*string, len(tb.columns))
	for i, name := range tb.columns {
		raw, ok := find[name]
		if !ok {
			continue
		}
		var err error
		if values[i], err = text(raw, tb.types[i]); err != nil {
			return nil, fmt.Errorf("column %s: %w", name, err)
		}
	}
	if tb.key == nil {
		line := encode(values)
		if tb.bag[line] == 0 {
			return nil, errNoRow
		}
		if tb.bag[line]--; tb.bag[line] == 0 {
			delete(tb.bag, line)
		}
		return values, nil
	}
	key := tb.keyOf(values)
	old, ok := tb.rows[key]
	if !ok {
		return nil, errNoRow
	}
	delete(tb.rows, key)
	return old, nil
}

func (tb *folded) put(values []*string) error {
	if tb.key == nil {
		tb.bag[encode(values)]++
		return nil
	}
	key := tb.keyOf(values)
	if _, ok := tb.rows[key]; ok {
		return errors.New("there is such a row already")
	}
	tb.rows[key] = values
	return nil
}

func (tb *folded) keyOf(values []*string) string {
	var key []*string
	for i, name := range tb.columns {
		if slices.Contains(tb.key, name) {
			key = append(key, values[i])
		}
	}
	return encode(key)
}

// text turns a JSON value back into PostgreSQL's text.
func text(raw json.RawMessage, typeName string) (*string, error) {
	s := string(raw)
	switch {
	case s == "null":
		return nil, nil
	case typeName == "json" || typeName == "jsonb":
		return &s, nil
	case s[0] == '"':
		if err := json.Unmarshal(raw, &s); err != nil {
			return nil, err
		}
		if typeName == "bytea" {
			bytes, err := base64.StdEncoding.DecodeString(s)
			if err != nil {
				return nil, err
			}
			s = fmt.Sprintf(`\x%x`, bytes)
		}
	}
	return &s, nil
}

// encode writes a row as COPY text.
func encode(values []*string) string {
	var b strings.Builder
	for i, v := range values {
		if i > 0 {
			b.WriteByte('\t')
		}
		if v == nil {
			b.WriteString(`\N`)
			continue
		}
		escaper.WriteString(&b, *v)
	}
	return b.String()
}

var escaper = strings.NewReplacer("\\", `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`)

// load writes the folded rows into a database that has the tables already, and gives their digest.
func (f *fold) load(t testing.TB, url string) digests {
	t.Helper()
	conn := connect(t, url)
	for _, tb := range f.tables {
		sql(t, conn, "truncate "+tb.ident()+" cascade")
	}
	sql(t, conn, "set session_replication_role = replica")
	for _, tb := range f.tables {
		in := "copy " + tb.ident() + " (" + tb.list("%s") + ") from stdin"
		if _, err := conn.PgConn().CopyFrom(t.Context(), tb.lines(), in); err != nil {
			t.Fatalf("load folded table %s: %v", tb.table, err)
		}
	}
	return digest(t, conn)
}

func (tb *folded) lines() io.Reader {
	r, w := io.Pipe()
	go func() {
		for _, values := range tb.rows {
			_, _ = io.WriteString(w, encode(values)+"\n") // a reader that has gone says so itself
		}
		for line, n := range tb.bag {
			_, _ = io.WriteString(w, strings.Repeat(line+"\n", n))
		}
		_ = w.Close()
	}()
	return r
}
