package oracle

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tidemark/integration/checker/fold"
)

func is(s string) fold.Value { return &s }

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text string
		want line
	}{
		{"BEGIN 4294967295", line{kind: begin, xid: 4294967295}},
		{"COMMIT 7 (at 2024-02-29 12:00:00.000001+00)", line{kind: commit, xid: 7, time: time.Date(2024, 2, 29, 12, 0, 0, 1000, time.UTC)}},
		{"COMMIT 7 (at 2024-02-29 12:00:00+00)", line{kind: commit, xid: 7, time: time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)}},
		{"message: transactional: 1 prefix: p, sz: 8 content:COMMIT 7\nBEGIN 8", line{kind: message}},
		{"table public.a: INSERT: i[integer]:1", line{kind: change, op: fold.Insert, tables: []name{{"public", "a"}}, values: " i[integer]:1"}},
		{"table public.a: DELETE: (no-tuple-data)", line{kind: change, op: fold.Delete, tables: []name{{"public", "a"}}, values: " (no-tuple-data)"}},
		{"table public.a: INSERT:", line{kind: change, op: fold.Insert, tables: []name{{"public", "a"}}}},
		{`table "A "".b"."x: INSERT: ,": UPDATE: i[integer]:1`, line{kind: change, op: fold.Update, tables: []name{{`A ".b`, "x: INSERT: ,"}}, values: " i[integer]:1"}},
		{"table public.a, \"b,\n\".c: TRUNCATE: (no-flags)", line{kind: truncate, op: fold.Truncate, tables: []name{{"public", "a"}, {"b,\n", "c"}}}},
		{"table public.a: TRUNCATE: restart_seqs cascade", line{kind: truncate, op: fold.Truncate, tables: []name{{"public", "a"}}}},
		{"table public.a: TRUNCATE: cascade", line{kind: truncate, op: fold.Truncate, tables: []name{{"public", "a"}}}},
	} {
		got, err := parse(c.text)
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(line{}, name{})); err != nil || diff != "" {
			t.Errorf("%q gives %v\n%s", c.text, err, diff)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		"", "BEGIN", "BEGIN x", "BEGIN 4294967296", "COMMIT 7", "COMMIT 7 (at )", "COMMIT 7 (at 2024-02-29 12:00:00+00", "PREPARE TRANSACTION 'x', txid 1",
		"table ", "table a: INSERT:", "table a.b", "table a.b INSERT:", "table a.b: MERGE: x", `table "a.b: INSERT:`, "table a.b, a.c: INSERT: x[integer]:1",
		"table a.b: TRUNCATE: sideways", "opening a streamed block for transaction TXN 7",
	} {
		if l, err := parse(text); !errors.Is(err, errText) {
			t.Errorf("%q gives %+v, %v", text, l, err)
		}
	}
}

func TestTuples(t *testing.T) {
	for _, c := range []struct {
		text          string
		before, after tuple
	}{
		{"table s.t: INSERT:", tuple{}, tuple{there: true}},
		{"table s.t: INSERT: (no-tuple-data)", tuple{}, tuple{}},
		{"table s.t: DELETE:", tuple{there: true}, tuple{}},
		{"table s.t: UPDATE: old-key: new-tuple:", tuple{there: true}, tuple{there: true}},
		{"table s.t: INSERT: a[integer]:-1 b[double precision]:-Infinity c[numeric]:NaN d[boolean]:true e[boolean]:false f[text]:null", tuple{}, tuple{there: true, fields: []field{
			{name: "a", value: is("-1")}, {name: "b", value: is("-Infinity")}, {name: "c", value: is("NaN")}, {name: "d", value: is("t")}, {name: "e", value: is("f")}, {name: "f"},
		}}},
		{"table s.t: INSERT: a[text]:'' b[text]:'null' c[character varying[]]:'{\"a'',b\",NULL}' d[bit varying]:B'01' e[text]:'it''''s\n''' f[text]:'unchanged-toast-datum'", tuple{}, tuple{there: true, fields: []field{
			{name: "a", value: is("")}, {name: "b", value: is("null")}, {name: "c", value: is(`{"a',b",NULL}`)}, {name: "d", value: is("01")}, {name: "e", value: is("it''s\n'")},
			{name: "f", value: is("unchanged-toast-datum")},
		}}},
		{`table s.t: UPDATE: old-key: "new-tuple: x[int]:1"["Odd.S"."my ]t""y:p'e"[]]:'new-tuple:' new-tuple: "a[""b"[timestamp with time zone]:'x' c[text]:unchanged-toast-datum`,
			tuple{there: true, fields: []field{{name: "new-tuple: x[int]:1", value: is("new-tuple:")}}},
			tuple{there: true, fields: []field{{name: `a["b`, value: is("x")}, {name: "c", unchanged: true}}}},
		{"table s.t: DELETE: a[integer]:1", tuple{there: true, fields: []field{{name: "a", value: is("1")}}}, tuple{}},
	} {
		l, err := parse(c.text)
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		before, after, err := l.tuples()
		options := cmp.AllowUnexported(tuple{}, field{})
		if diff := cmp.Diff(c.before, before, options) + cmp.Diff(c.after, after, options); err != nil || diff != "" {
			t.Errorf("%q gives %v\n%s", c.text, err, diff)
		}
	}
}

func TestTuplesRefuse(t *testing.T) {
	for _, values := range []string{
		" ", " a", " a[", " a[integer]", " a[integer]:", " a[integer] 1", " a[text]:'x", " a[text]:'x'y", " a[integer[x]]:1", ` a["integer]:1`, ` "a[integer]:1`,
		" a[integer]:1  b[integer]:2", "a[integer]:1", " [integer]:1", " a[integer]:1 (no-tuple-data)",
	} {
		l, err := parse("table s.t: INSERT:" + values)
		if err != nil {
			t.Fatal(err)
		}
		if _, after, err := l.tuples(); !errors.Is(err, errText) {
			t.Errorf("%q gives %+v, %v", values, after, err)
		}
	}
	l, err := parse("table s.t: UPDATE: old-key: a[integer]:1")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.tuples(); !errors.Is(err, errText) {
		t.Errorf("an update without a new tuple gives %v", err)
	}
}

// FuzzParse: no message makes the parser panic, and one that is taken is written the same again.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"BEGIN 1", "COMMIT 1 (at 2024-02-29 12:00:00.5+00)", "message: transactional: 0 prefix: p, sz: 1 content:x", "table a.b, \"c\".d: TRUNCATE: restart_seqs",
		`table "S".t: UPDATE: old-key: a[integer]:1 new-tuple: a[integer]:2 "b"[text[]]:'it''s' c[text]:null d[text]:unchanged-toast-datum e[boolean]:true f[bit]:B'1'`,
		"table s.t: DELETE: (no-tuple-data)", "table s.t: INSERT:",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := parse(s)
		if err != nil || l.kind != change {
			return
		}
		before, after, err := l.tuples()
		if err != nil {
			if !errors.Is(err, errText) {
				t.Fatalf("unknown error %v", err)
			}
			return
		}
		again, err := parse(write(l, before, after))
		if err != nil {
			t.Fatal(err)
		}
		b, a, err := again.tuples()
		options := cmp.AllowUnexported(tuple{}, field{}, name{})
		if diff := cmp.Diff(l.tables, again.tables, options) + cmp.Diff(before, b, options) + cmp.Diff(after, a, options); err != nil || diff != "" {
			t.Fatalf("%v\n%s", err, diff)
		}
	})
}

// write writes a change as test_decoding could, with everything in quotes.
func write(l line, before, after tuple) string {
	quote := func(q, s string) string { return q + strings.ReplaceAll(s, q, q+q) + q }
	fields := func(t tuple) string {
		if !t.there {
			return " (no-tuple-data)"
		}
		var b strings.Builder
		for _, f := range t.fields {
			b.WriteString(" " + quote(`"`, f.name) + "[text]:")
			switch {
			case f.unchanged:
				b.WriteString("unchanged-toast-datum")
			case f.value == nil:
				b.WriteString("null")
			default:
				b.WriteString(quote("'", *f.value))
			}
		}
		return b.String()
	}
	s := "table " + quote(`"`, l.tables[0].schema) + "." + quote(`"`, l.tables[0].table) + ": "
	switch l.op {
	case fold.Insert:
		return s + "INSERT:" + fields(after)
	case fold.Delete:
		return s + "DELETE:" + fields(before)
	}
	s += "UPDATE:"
	if before.there {
		s += " old-key:" + fields(before) + " new-tuple:"
	}
	return s + fields(after)
}
