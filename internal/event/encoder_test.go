package event

import (
	"errors"
	"strings"
	"testing"
	"time"

	"tidemark/internal/change"
	"tidemark/internal/position"
)

var (
	source = Source{SystemID: "7301234567890123456", Database: "app"}
	tx     = Transaction{
		Xid: 741, Commit: 0x16B3700, End: 0x16B3748, Rows: 7,
		Time: position.TimeOf(time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)),
	}
	orders = &change.Relation{
		ID: 16390, Schema: "public", Name: "orders", Identity: change.IdentityDefault, Fingerprint: 0xfe, Columns: []change.Column{
			{Name: "id", Key: true, Type: 20}, {Name: "qty", Type: 23}, {Name: "price", Type: 1700}, {Name: "doc", Type: 3802}, {Name: "note", Type: 25},
		},
	}
	whole   = relation(16391, "whole", change.IdentityFull, true, true)
	nothing = relation(16392, "nothing", change.IdentityNothing, false, false)
	own     = &change.Relation{ID: 16393, Schema: change.Own, Name: "heartbeat", Identity: change.IdentityNothing}
)

func relation(id uint32, name string, identity change.Identity, keys ...bool) *change.Relation {
	rel := &change.Relation{ID: id, Schema: "public", Name: name, Identity: identity, Fingerprint: uint64(id)}
	for i, key := range keys {
		rel.Columns = append(rel.Columns, change.Column{Name: string(rune('a' + i)), Key: key, Type: 25})
	}
	return rel
}

// values makes a tuple: "∅" is NULL and "…" unchanged.
func values(texts ...string) []change.Value {
	out := []change.Value{}
	for _, s := range texts {
		switch s {
		case "∅":
			out = append(out, change.Value{Kind: change.Null})
		case "…":
			out = append(out, change.Value{Kind: change.Unchanged})
		default:
			out = append(out, change.Value{Kind: change.Text, Data: []byte(s)})
		}
	}
	return out
}

func encoder(t testing.TB) *Encoder {
	t.Helper()
	e, err := NewEncoder(source, "cdc")
	must(t, err)
	e.Begin(tx)
	return e
}

func TestRow(t *testing.T) {
	const tail = `,"position":{"lsn":"0/16B3748","ordinal":3,"rows":7},"xid":741,"commit_time":"2026-03-01T12:00:00.123456Z","system_id":"7301234567890123456"}`
	for name, c := range map[string]struct {
		row  change.Row
		want string
	}{
		"insert": {
			change.Row{Op: change.Insert, Relation: orders, New: values("1", "2", "9.90", `{"a": 1}`, "∅")},
			`{"op":"insert","database":"app","schema":"public","table":"orders","key":{"id":"1"},"before":null,"after":{"id":"1","qty":2,"price":"9.90","doc":{"a": 1},"note":null},"unchanged":[]`,
		},
		"update": {
			change.Row{Op: change.Update, Relation: orders, New: values("1", "∅", "…", "[]", "…")},
			`{"op":"update","database":"app","schema":"public","table":"orders","key":{"id":"1"},"before":null,"after":{"id":"1","qty":null,"doc":[]},"unchanged":["price","note"]`,
		},
		"update of the key": {
			change.Row{Op: change.Update, Relation: orders, OldKey: true, Old: values("1", "∅", "∅", "∅", "∅"), New: values("2", "3", "∅", "∅", "…")},
			`{"op":"update","database":"app","schema":"public","table":"orders","key":{"id":"2"},"before":{"id":"1"},"after":{"id":"2","qty":3,"price":null,"doc":null},"unchanged":["note"]`,
		},
		"update with a key in TOAST": {
			change.Row{Op: change.Update, Relation: orders, OldKey: true, Old: values("1", "∅", "∅", "∅", "∅"), New: values("…", "3", "∅", "∅", "n")},
			`{"op":"update","database":"app","schema":"public","table":"orders","key":{"id":"1"},"before":{"id":"1"},"after":{"id":"1","qty":3,"price":null,"doc":null,"note":"n"},"unchanged":[]`,
		},
		"delete": {
			change.Row{Op: change.Delete, Relation: orders, OldKey: true, Old: values("1", "∅", "∅", "∅", "∅")},
			`{"op":"delete","database":"app","schema":"public","table":"orders","key":{"id":"1"},"before":{"id":"1"},"after":null,"unchanged":[]`,
		},
		"insert under full": {
			change.Row{Op: change.Insert, Relation: whole, New: values("1", "∅")},
			`{"op":"insert","database":"app","schema":"public","table":"whole","key":{},"before":null,"after":{"a":"1","b":null},"unchanged":[]`,
		},
		"update under full": {
			change.Row{Op: change.Update, Relation: whole, Old: values("1", "long"), New: values("2", "…")},
			`{"op":"update","database":"app","schema":"public","table":"whole","key":{},"before":{"a":"1","b":"long"},"after":{"a":"2","b":"long"},"unchanged":[]`,
		},
		"update under full, from NULL": {
			change.Row{Op: change.Update, Relation: whole, Old: values("∅", "∅"), New: values("∅", "x")},
			`{"op":"update","database":"app","schema":"public","table":"whole","key":{},"before":{"a":null,"b":null},"after":{"a":null,"b":"x"},"unchanged":[]`,
		},
		"delete under full": {
			change.Row{Op: change.Delete, Relation: whole, Old: values("1", "∅")},
			`{"op":"delete","database":"app","schema":"public","table":"whole","key":{},"before":{"a":"1","b":null},"after":null,"unchanged":[]`,
		},
		"insert without identity": {
			change.Row{Op: change.Insert, Relation: nothing, New: values("", "x")},
			`{"op":"insert","database":"app","schema":"public","table":"nothing","key":{},"before":null,"after":{"a":"","b":"x"},"unchanged":[]`,
		},
	} {
		c.row.Ordinal = 3
		got, err := encoder(t).Row(nil, c.row)
		if err != nil || len(got) != 1 || string(got[0].Data) != c.want+tail {
			t.Errorf("%s: %v\n got %s\nwant %s", name, err, got, c.want+tail)
			continue
		}
		if want := "cdc.app.public." + c.row.Relation.Name + "." + c.row.Op.String(); got[0].Subject != want {
			t.Errorf("%s: subject %s, want %s", name, got[0].Subject, want)
		}
		if _, err := Parse(got[0].Data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHeader(t *testing.T) {
	e := encoder(t)
	got, err := e.Row(nil, change.Row{Ordinal: 3, Op: change.Insert, Relation: nothing, New: values("a", "b")})
	must(t, err)
	headers := map[string][]string{}
	for name, value := range got[0].Header.Fields() {
		headers[name] = append(headers[name], value)
	}
	for name, want := range map[string]string{
		"Nats-Msg-Id": "7301234567890123456/0/16B3748/3", "Tidemark-Position": "0/16B3748:3", "Tidemark-Xid": "741",
		"Tidemark-Commit-Time": "2026-03-01T12:00:00.123456Z", "Tidemark-Schema": "0000000000004008", "Content-Type": "application/json",
	} {
		if len(headers[name]) != 1 || headers[name][0] != want {
			t.Errorf("header %s is %q, want %q", name, headers[name], want)
		}
	}
	if len(headers) != 6 {
		t.Errorf("headers are %v", headers)
	}
	want := position.Position{End: tx.End, Ordinal: 3}
	if p, err := ParsePosition(headers); err != nil || p != want {
		t.Errorf("position is %v, %v", p, err)
	}
	if id, p, err := ParseID(got[0].Header.ID); err != nil || id != source.SystemID || p != want {
		t.Errorf("id is %s %v, %v", id, p, err)
	}
	if got[0].Header.ID != FormatID(source.SystemID, want) {
		t.Errorf("id is %s and should be %s", got[0].Header.ID, FormatID(source.SystemID, want))
	}
}

func TestParseHeaderRefuses(t *testing.T) {
	for _, h := range []map[string][]string{nil, {HeaderPosition: {}}, {HeaderPosition: {"0/1:1", "0/1:2"}}, {HeaderPosition: {"0/1"}}} {
		if p, err := ParsePosition(h); err == nil {
			t.Errorf("position of %v is %v", h, p)
		}
	}
	for _, id := range []string{"", "1", "1/2", "1/2/3", "1/0/2/x", "1/0/2", "//", "1/0/2/-1"} {
		if s, p, err := ParseID(id); err == nil {
			t.Errorf("id %q is %s %v", id, s, p)
		}
	}
}

func TestTruncate(t *testing.T) {
	e := encoder(t)
	row := change.Row{Ordinal: 4, Op: change.Truncate, Truncated: []*change.Relation{orders, own, whole}}
	got, err := e.Row(nil, row)
	must(t, err)
	if len(got) != 2 {
		t.Fatalf("%d messages", len(got))
	}
	for i, want := range []struct {
		subject, position string
		ordinal           uint32
	}{{"cdc.app.public.orders.truncate", "0/16B3748:4", 4}, {"cdc.app.public.whole.truncate", "0/16B3748:6", 6}} {
		doc, err := Parse(got[i].Data)
		must(t, err)
		if got[i].Subject != want.subject || got[i].Header.Position != want.position || doc.Position.Ordinal != want.ordinal ||
			doc.Op != "truncate" || len(doc.Key) != 0 || doc.Before != nil || doc.After != nil || doc.Unchanged == nil {
			t.Errorf("message is %+v", got[i])
		}
	}
}

func TestCommit(t *testing.T) {
	e := encoder(t)
	renamed := *orders
	renamed.Columns = renamed.Columns[:2]
	dotted := &change.Relation{ID: 9, Schema: "a.b", Name: `c"`, Identity: change.IdentityNothing}
	rows := []change.Row{
		{Op: change.Insert, Relation: orders, New: values("1", "2", "9.90", "{}", "∅")},
		{Op: change.Insert, Relation: own, New: values()},
		{Op: change.Delete, Relation: orders, OldKey: true, Old: values("1", "∅", "∅", "∅", "∅")},
		{Op: change.Insert, Relation: &renamed, New: values("1", "2")},
		{Op: change.Truncate, Truncated: []*change.Relation{whole, dotted}},
		{Op: change.Insert, Relation: dotted, New: values()},
	}
	if _, err := e.Commit(nil); err == nil {
		t.Error("a transaction ends without its rows")
	}
	var messages []Message
	for round := range 2 { // the second begins again
		e.Begin(tx)
		messages = messages[:0]
		ordinal := uint32(0)
		for i, row := range rows {
			row.Ordinal = ordinal
			ordinal += uint32(max(1, len(row.Truncated)))
			if round == 1 && i < 3 {
				must(t, e.Skip(row))
				continue
			}
			var err error
			messages, err = e.Row(messages, row)
			must(t, err)
		}
		var err error
		messages, err = e.Commit(messages)
		must(t, err)
		last := messages[len(messages)-1]
		want := `{"op":"commit","database":"app","rows":7,"tables":{"\"a.b\".\"c\"\"\"":{"insert":1,"truncate":1},"public.orders":{"insert":2,"delete":1},"public.whole":{"truncate":1}},` +
			`"position":{"lsn":"0/16B3748","ordinal":7,"rows":7},"xid":741,"commit_time":"2026-03-01T12:00:00.123456Z","system_id":"7301234567890123456"}`
		if string(last.Data) != want || last.Subject != "cdc.app._commit" || last.Header.Position != tx.Position().String() || last.Header.Schema != "" {
			t.Errorf("commit is %+v\n%s\nwant\n%s", last, last.Data, want)
		}
		for name := range last.Header.Fields() {
			if name == HeaderSchema {
				t.Error("a commit has a schema header")
			}
		}
	}
	if len(messages) != 5 {
		t.Errorf("%d messages", len(messages))
	}
}

func TestReuse(t *testing.T) {
	e := encoder(t)
	row := change.Row{Op: change.Insert, Relation: orders, New: values("1", "2", "9.90", `{"a": 1}`, "∅")}
	first, err := e.Row(nil, row)
	must(t, err)
	want := string(first[0].Data)
	again, err := e.Row(first[:0], row)
	must(t, err)
	if &again[0].Data[0] != &first[:1][0].Data[0] || string(again[0].Data) != want {
		t.Error("the buffer is not reused")
	}
}

func TestRowRefuses(t *testing.T) {
	named := relation(1, "bad\xff", change.IdentityNothing, false)
	column := relation(2, "t", change.IdentityNothing, false)
	column.Columns[0].Name = "\xff"
	for name, row := range map[string]change.Row{
		"invalid UTF-8":        {Op: change.Insert, Relation: nothing, New: values("s3cret\xff", "")},
		"invalid UTF-8 before": {Op: change.Delete, Relation: whole, Old: values("", "s3cret\xff")},
		"binary":               {Op: change.Insert, Relation: nothing, New: []change.Value{{Kind: change.Binary, Data: []byte("s3cret")}, {Kind: change.Null}}},
		"key not sent":         {Op: change.Update, Relation: orders, New: values("…", "1", "1", "1", "s3cret")},
		"table name":           {Op: change.Insert, Relation: named, New: values("s3cret")},
		"column name":          {Op: change.Insert, Relation: column, New: values("s3cret")},
	} {
		got, err := encoder(t).Row(nil, row)
		if !errors.Is(err, ErrUnencodable) || strings.Contains(err.Error(), "s3cret") || len(got) != 0 {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	for name, row := range map[string]change.Row{
		"no relation":        {Op: change.Insert},
		"no new tuple":       {Op: change.Update, Relation: orders},
		"no old tuple":       {Op: change.Delete, Relation: orders},
		"short old tuple":    {Op: change.Update, Relation: nothing, Old: values("s3cret"), New: values("s3cret", "")},
		"unknown operation":  {Op: 9, Relation: orders},
		"too long new tuple": {Op: change.Insert, Relation: nothing, New: values("s3cret", "", "")},
	} {
		if got, err := encoder(t).Row(nil, row); err == nil || strings.Contains(err.Error(), "s3cret") || len(got) != 0 {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	if _, err := NewEncoder(Source{Database: "\xff"}, "cdc"); err == nil {
		t.Error("a database name that is not UTF-8 is taken")
	}
	if _, err := NewEncoder(source, "cdc.*"); err == nil {
		t.Error("a prefix with a wildcard is taken")
	}
}

func TestParseRefuses(t *testing.T) {
	for _, s := range []string{"", "s3cret", "[]", `{"op":"s3cret"}`, `{"op":"insert","xid":"s3cret"}`, `{}`} {
		if e, err := Parse([]byte(s)); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s is %+v, %v", s, e, err)
		}
	}
}

func BenchmarkRow(b *testing.B) {
	e := encoder(b)
	row := change.Row{
		Op: change.Update, Relation: orders,
		New: values("123456", "2", "9.90", `{"a": 1, "b": [1, 2, 3]}`, strings.Repeat("x", 100)),
	}
	messages, err := e.Row(nil, row)
	must(b, err)
	b.SetBytes(int64(len(messages[0].Data)))
	b.ReportAllocs()
	for b.Loop() {
		if messages, err = e.Row(messages[:0], row); err != nil {
			b.Fatal(err)
		}
	}
}
