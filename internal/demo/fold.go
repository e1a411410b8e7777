package demo

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidemark/internal/postgres"
)

// envelope is a published change, as docs/nats.md describes it.
type envelope struct {
	Op        string                     `json:"op"`
	Schema    string                     `json:"schema"`
	Table     string                     `json:"table"`
	Key       map[string]json.RawMessage `json:"key"`
	Before    map[string]json.RawMessage `json:"before"`
	After     map[string]json.RawMessage `json:"after"`
	Unchanged []string                   `json:"unchanged"`
	Position  struct {
		LSN     string `json:"lsn"`
		Ordinal uint32 `json:"ordinal"`
	} `json:"position"`
	CommitTime time.Time `json:"commit_time"`
}

type row map[string]json.RawMessage

// folded is the stream folded back into tables: what a subscriber that only reads the stream knows. Rows of a table with
// a key are found by it; rows of a table without one by all their values.
type folded struct {
	mu       sync.Mutex
	tables   map[string]map[string][]row
	pending  []envelope // changes of a transaction whose end has not come yet
	last     string     // LSN of the newest whole transaction
	messages int64
	sequence uint64 // of the newest message
	stream   jetstream.Stream
	seen     map[string]bool
	lags     []time.Duration
	err      error
	keyless  map[string]bool
}

func newFolded(keyless ...string) *folded {
	f := &folded{tables: map[string]map[string][]row{}, seen: map[string]bool{}, keyless: map[string]bool{}}
	for _, t := range keyless {
		f.keyless[t] = true
	}
	return f
}

// consume reads the stream from its beginning until ctx ends.
func (f *folded) consume(ctx context.Context, url, stream string) (stop func(), err error) {
	conn, err := nats.Connect(url, nats.Name("tidemark demo subscriber"))
	if err != nil {
		return nil, fmt.Errorf("connect subscriber: %w", err)
	}
	js, err := jetstream.New(conn)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("open JetStream: %w", err)
	}
	if f.stream, err = awaitStream(ctx, js, stream); err != nil {
		conn.Close()
		return nil, err
	}
	consumer, err := js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{})
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("make consumer: %w", err)
	}
	reading, err := consumer.Consume(f.take)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("consume stream: %w", err)
	}
	return func() { reading.Stop(); <-reading.Closed(); conn.Close() }, nil
}

// awaitStream waits until the service has made its stream.
func awaitStream(ctx context.Context, js jetstream.JetStream, name string) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		stream, err := js.Stream(ctx, name)
		if !errors.Is(err, jetstream.ErrStreamNotFound) {
			return stream, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for stream %s: %w", name, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (f *folded) take(m jetstream.Msg) {
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.messages++
	if meta, err := m.Metadata(); err == nil {
		f.sequence = meta.Sequence.Stream
	}
	if id := m.Headers().Get(nats.MsgIdHdr); f.seen[id] {
		f.fail(fmt.Errorf("message %s came twice", id))
	} else {
		f.seen[id] = true
	}
	var e envelope
	if err := json.Unmarshal(m.Data(), &e); err != nil {
		f.fail(fmt.Errorf("read message on %s: %w", m.Subject(), err))
		return
	}
	if !strings.HasSuffix(m.Subject(), "._commit") {
		f.pending = append(f.pending, e)
		return
	}
	for _, change := range f.pending {
		f.apply(change)
	}
	if len(f.pending) > 0 {
		f.lags = append(f.lags, now.Sub(e.CommitTime))
	}
	f.pending, f.last = f.pending[:0], e.Position.LSN
}

// caughtUp reports whether everything in the stream has been read.
func (f *folded) caughtUp(ctx context.Context) (bool, error) {
	info, err := f.stream.Info(ctx)
	if err != nil {
		return false, fmt.Errorf("ask for the stream's end: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sequence >= info.State.LastSeq, nil
}

func (f *folded) count() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.messages
}

func (f *folded) latencies() []time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.lags)
}

func (f *folded) fail(err error) {
	if f.err == nil {
		f.err = err
	}
}

func (f *folded) apply(e envelope) {
	name := e.Schema + "." + e.Table
	rows := f.tables[name]
	if rows == nil {
		rows = map[string][]row{}
		f.tables[name] = rows
	}
	switch e.Op {
	case "truncate":
		clear(rows)
	case "insert", "read":
		f.put(rows, name, e.After)
	case "update":
		old, ok := f.remove(rows, name, e.old())
		if !ok {
			f.fail(fmt.Errorf("update of a row of %s that the stream never inserted, at %s", name, e.Position.LSN))
			return
		}
		next := maps.Clone(e.After)
		for _, column := range e.Unchanged {
			next[column] = old[column]
		}
		f.put(rows, name, next)
	case "delete":
		if _, ok := f.remove(rows, name, e.old()); !ok {
			f.fail(fmt.Errorf("delete of a row of %s that the stream never inserted, at %s", name, e.Position.LSN))
		}
	}
}

// old is what identifies the row before the change.
func (e envelope) old() row {
	if len(e.Before) > 0 {
		return e.Before
	}
	return e.Key
}

func (f *folded) put(rows map[string][]row, name string, r row) {
	key := f.identity(name, r)
	if !f.keyless[name] && len(rows[key]) > 0 {
		f.fail(fmt.Errorf("insert of a key of %s that is there already", name))
	}
	rows[key] = append(rows[key], r)
}

func (f *folded) remove(rows map[string][]row, name string, r row) (row, bool) {
	key := f.identity(name, r)
	list := rows[key]
	if len(list) == 0 {
		return nil, false
	}
	old := list[len(list)-1]
	if list = list[:len(list)-1]; len(list) == 0 {
		delete(rows, key)
	} else {
		rows[key] = list
	}
	return old, true
}

// keys are the primary keys of the demo's tables: what a subscriber knows of its tables.
var keys = map[string][]string{
	"shop.customers": {"id"}, "shop.orders": {"id"}, "shop.payments": {"order_id", "attempt"},
	"shop.Stock.Level": {"product id"}, "shop.probe": {"id"},
}

func (f *folded) identity(name string, r row) string {
	columns := keys[name]
	if f.keyless[name] {
		columns = slices.Sorted(maps.Keys(r))
	}
	var b strings.Builder
	for _, c := range columns {
		fmt.Fprintf(&b, "%s\x00", r[c])
	}
	return b.String()
}

// pour writes the folded rows into an empty database of the same schema, so that PostgreSQL itself can compare them.
func (f *folded) pour(ctx context.Context, url string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	conn, err := postgres.Connect(ctx, url, "tidemark demo")
	if err != nil {
		return fmt.Errorf("connect to pour the stream: %w", err)
	}
	defer conn.Close(ctx)
	list, err := tables(ctx, conn)
	if err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "set session_replication_role = replica"); err != nil {
		return fmt.Errorf("switch triggers off: %w", err)
	}
	for _, t := range list {
		var columns []string
		var names []string
		for _, c := range t.columns {
			if !c.generated {
				columns, names = append(columns, c.name), append(names, postgres.Ident(c.name))
			}
		}
		text := f.copyText(t, columns)
		sql := fmt.Sprintf("copy %s (%s) from stdin", postgres.Ident(t.schema, t.name), strings.Join(names, ", "))
		if _, err := conn.PgConn().CopyFrom(ctx, bytes.NewReader(text), sql); err != nil {
			return fmt.Errorf("pour %s: %w", t, postgres.Explain(err))
		}
	}
	return nil
}

func (f *folded) copyText(t table, columns []string) []byte {
	kinds := map[string]string{}
	for _, c := range t.columns {
		kinds[c.name] = c.kind
	}
	var b bytes.Buffer
	for _, rows := range f.tables[t.String()] {
		for _, r := range rows {
			for i, c := range columns {
				if i > 0 {
					b.WriteByte('\t')
				}
				b.WriteString(copyValue(r[c], kinds[c]))
			}
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

var copyEscape = strings.NewReplacer("\\", `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`)

func copyValue(v json.RawMessage, kind string) string {
	if len(v) == 0 || string(v) == "null" {
		return `\N`
	}
	if kind == "jsonb" || v[0] != '"' {
		return copyEscape.Replace(string(v))
	}
	var s string
	if err := json.Unmarshal(v, &s); err != nil {
		return copyEscape.Replace(string(v))
	}
	if kind == "bytea" {
		if raw, err := base64.StdEncoding.DecodeString(s); err == nil {
			s = `\x` + hex.EncodeToString(raw)
		}
	}
	return copyEscape.Replace(s)
}
