package check

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"tidemark/internal/position"

	"tidemark/integration/checker/fold"
)

func v(s string) fold.Value { return &s }

var historyTables = []fold.Table{
	{Schema: "s", Name: "keyed", Columns: []fold.Column{{Name: "a", Type: "text"}, {Name: "id", Type: "integer"}, {Name: "n", Type: "numeric"}}, Key: []int{1}},
	{Schema: "s", Name: "full", Columns: []fold.Column{{Name: "a", Type: "text"}, {Name: "b", Type: "jsonb"}}, Identity: fold.Full},
	{Schema: "Mix.ed", Name: "It ems", Columns: []fold.Column{{Name: "k", Type: "bigint"}, {Name: "b", Type: "bytea"}, {Name: "o\"k", Type: "boolean"}}, Key: []int{0}},
	{Schema: "s", Name: "fullkeyed", Columns: []fold.Column{{Name: "id", Type: "integer"}, {Name: "a", Type: "public.blob"}}, Key: []int{0}},
}

const historyEnd position.LSN = 0x600

var historyTime = time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)

// timeline is what the reference log says of the history: values as PostgreSQL's text.
func timeline(t *testing.T) *fold.Timeline {
	t.Helper()
	l, state := fold.NewTimeline(historyTables), fold.NewState(historyTables)
	known := []bool{false, true, false}
	for _, tx := range []fold.Transaction{
		{End: 0x100, XID: 10, Published: true, Changes: []fold.Change{
			{Op: fold.Insert, Table: "s.keyed", New: []fold.Value{v("long"), v("1"), v("1.50")}},
			{Op: fold.Insert, Table: "s.keyed", New: []fold.Value{nil, v("2"), v("NaN")}},
		}},
		{End: 0x200, XID: 11, Published: true, Changes: []fold.Change{
			{Op: fold.Update, Table: "s.keyed", Old: []fold.Value{nil, v("1"), nil}, OldSet: known, New: []fold.Value{nil, v("3"), v("2")}, Unchanged: []bool{true, false, false}},
			{Op: fold.Insert, Table: "s.full", New: []fold.Value{v("x\ty"), v(`{"a": 1, "b": [1, 2]}`)}},
			{Op: fold.Insert, Table: "s.full", New: []fold.Value{v("x\ty"), v(`{"a": 1, "b": [1, 2]}`)}},
			{Op: fold.Update, Table: "s.full", Old: []fold.Value{v("x\ty"), v(`{"a": 1, "b": [1, 2]}`)}, OldSet: []bool{true, true}, New: []fold.Value{nil, nil}},
		}},
		{End: 0x280, XID: 12},                  // unpublished
		{End: 0x300, XID: 13, Published: true}, // the heartbeat
		{End: 0x400, XID: 14, Published: true, Changes: []fold.Change{
			{Op: fold.Insert, Table: "Mix.ed.It ems", New: []fold.Value{v("9007199254740993"), v(`\x00ff`), v("t")}},
			{Op: fold.Delete, Table: "s.keyed", Old: []fold.Value{nil, v("2"), nil}, OldSet: known},
			{Op: fold.Insert, Table: "s.fullkeyed", New: []fold.Value{v("1"), v(`\x00ff`)}},
			{Op: fold.Update, Table: "s.fullkeyed", Old: []fold.Value{v("1"), v(`\x00ff`)}, OldSet: []bool{true, true}, New: []fold.Value{v("2"), nil}},
		}},
		{End: 0x500, XID: 15, Published: true, Changes: []fold.Change{{Op: fold.Truncate, Table: "s.full"}, {Op: fold.Truncate, Table: "s.keyed"}}},
		{End: historyEnd, XID: 16, Published: true, Changes: []fold.Change{{Op: fold.Insert, Table: "s.keyed", New: []fold.Value{v("z"), v("3"), nil}}}},
	} {
		tx.Commit = historyTime
		touched, err := state.Apply(tx)
		if err != nil {
			t.Fatal(err)
		}
		sums := map[string]fold.Sum{}
		for _, table := range touched {
			sums[table] = state.Sum(table)
		}
		if err := l.Add(tx, sums); err != nil {
			t.Fatal(err)
		}
	}
	l.Cover(0x10000)
	return l
}

// part is a message of the history before it gets its place.
type part struct{ subject, fields string }

// insert and update of a row, delete, truncate, and the end of a transaction.
func change(op, schema, table, fields string) part {
	return part{subject: ".app." + token(schema) + "." + token(table) + "." + op, fields: fmt.Sprintf(`"op":%q,"database":"app","schema":%q,"table":%q,%s`, op, schema, table, fields)}
}

func end(tables string, rows int) part {
	return part{subject: ".app._commit", fields: fmt.Sprintf(`"op":"commit","database":"app","rows":%d,"tables":{%s}`, rows, tables)}
}

// transaction gives its parts their places; the last one is the end marker.
func transaction(lsn position.LSN, xid int, rows int, parts ...part) []message {
	var out []message
	commit := historyTime.Format("2006-01-02T15:04:05.000000Z")
	for i, p := range parts {
		if strings.HasSuffix(p.subject, "._commit") {
			i = rows
		}
		m := message{subject: p.subject, header: nats.Header{
			"Nats-Msg-Id": {fmt.Sprintf("73/%s/%d", lsn, i)}, headerPosition: {fmt.Sprintf("%s:%d", lsn, i)},
			"Tidemark-Xid": {fmt.Sprint(xid)}, "Tidemark-Commit-Time": {commit}, "Content-Type": {"application/json"},
		}}
		if i < rows {
			m.header.Set("Tidemark-Schema", "00000000000000fe")
		}
		m.data = fmt.Appendf(nil, `{%s,"position":{"lsn":"%s","ordinal":%d,"rows":%d},"xid":%d,"commit_time":"%s","system_id":"73"}`, p.fields, lsn, i, rows, xid, commit)
		out = append(out, m)
	}
	return out
}

// history is the stream as it should be, by transaction.
func history() [][]message {
	const row = `{"a":"x\ty","b":{"a": 1, "b": [1, 2]}}`
	return [][]message{
		transaction(0x100, 10, 2,
			change("insert", "s", "keyed", `"key":{"id":1},"before":null,"after":{"a":"long","id":1,"n":"1.50"},"unchanged":[]`),
			change("insert", "s", "keyed", `"key":{"id":2},"before":null,"after":{"a":null,"id":2,"n":"NaN"},"unchanged":[]`),
			end(`"s.keyed":{"insert":2}`, 2)),
		transaction(0x200, 11, 4,
			change("update", "s", "keyed", `"key":{"id":3},"before":{"id":1},"after":{"id":3,"n":"2"},"unchanged":["a"]`),
			change("insert", "s", "full", `"key":{},"before":null,"after":`+row+`,"unchanged":[]`),
			change("insert", "s", "full", `"key":{},"before":null,"after":`+row+`,"unchanged":[]`),
			change("update", "s", "full", `"key":{},"before":`+row+`,"after":{"a":null,"b":null},"unchanged":[]`),
			end(`"s.keyed":{"update":1},"s.full":{"insert":2,"update":1}`, 4)),
		transaction(0x2C0, 0, 0, end("", 0)),  // at a frontier
		transaction(0x300, 13, 1, end("", 1)), // for the heartbeat
		transaction(0x400, 14, 4,
			change("insert", "Mix.ed", "It ems", `"key":{"k":"9007199254740993"},"before":null,"after":{"k":"9007199254740993","b":"AP8=","o\"k":true},"unchanged":[]`),
			change("delete", "s", "keyed", `"key":{"id":2},"before":{"id":2},"after":null,"unchanged":[]`),
			change("insert", "s", "fullkeyed", `"key":{},"before":null,"after":{"id":1,"a":"AP8="},"unchanged":[]`),
			change("update", "s", "fullkeyed", `"key":{},"before":{"id":1,"a":"AP8="},"after":{"id":2,"a":null},"unchanged":[]`),
			end(`"\"Mix.ed\".It ems":{"insert":1},"s.keyed":{"delete":1},"s.fullkeyed":{"insert":1,"update":1}`, 4)),
		transaction(0x500, 15, 2,
			change("truncate", "s", "full", `"key":{},"before":null,"after":null,"unchanged":[]`),
			change("truncate", "s", "keyed", `"key":{},"before":null,"after":null,"unchanged":[]`),
			end(`"s.full":{"truncate":1},"s.keyed":{"truncate":1}`, 2)),
		transaction(historyEnd, 16, 1,
			change("insert", "s", "keyed", `"key":{"id":3},"before":null,"after":{"a":"z","id":3,"n":null},"unchanged":[]`),
			end(`"s.keyed":{"insert":1}`, 1)),
	}
}

// replace changes the text of one message, in document and headers.
func replace(h [][]message, tx, i int, old, with string) {
	m := &h[tx][i]
	before := string(m.data)
	m.data = []byte(strings.ReplaceAll(before, old, with))
	changed := string(m.data) != before
	for k, values := range m.header {
		n := strings.ReplaceAll(values[0], old, with)
		changed = changed || n != values[0]
		m.header[k] = []string{n}
	}
	if !changed {
		panic(fmt.Sprintf("message %d of transaction %d does not hold %s", i, tx, old))
	}
}
