package check

import (
	"encoding/json"
	"strings"
	"testing"

	"tidemark/integration/checker/fold"
)

// TestValue has the JSON of docs/nats.md for what PostgreSQL's output functions give.
func TestValue(t *testing.T) {
	for _, c := range []struct{ raw, typ, want string }{
		{`7`, "integer", "7"},
		{`-32768`, "smallint", "-32768"},
		{`1e+20`, "double precision", "1e+20"},
		{`-0`, "double precision", "-0"},
		{`0.1`, "real", "0.1"},
		{`"NaN"`, "real", "NaN"},
		{`"-Infinity"`, "double precision", "-Infinity"},
		{`"9007199254740993"`, "bigint", "9007199254740993"},
		{`"NaN"`, "numeric", "NaN"},
		{`"1.50"`, "numeric", "1.50"},
		{`true`, "boolean", "t"},
		{`false`, "boolean", "f"},
		{`false`, "public.agreed", "f"},
		{`3`, "public.positive", "3"},
		{`""`, "text", ""},
		{`"null"`, "text", "null"},
		{`"true"`, "text", "true"},
		{`"a\"b\\c\n\r\t\u0001\u001f/é😀` + "\u2028" + `"`, "text", "a\"b\\c\n\r\t\x01\x1f/é😀\u2028"},
		{`"{\"a\": 1}"`, "text", `{"a": 1}`},
		{`"{1,NULL,\"x y\"}"`, "text[]", `{1,NULL,"x y"}`},
		{`"0044-03-15 BC"`, "date", "0044-03-15 BC"},
		{`"infinity"`, "timestamp with time zone", "infinity"},
		{`"AP8="`, "bytea", `\x00ff`},
		{`""`, "bytea", `\x`},
		{`{"a": 1, "b": [1, 2], "": {"x": "y,z:\"\\\n\u001f"}}`, "jsonb", `{"a": 1, "b": [1, 2], "": {"x": "y,z:\"\\\n\u001f"}}`},
		{`"a\nb"`, "jsonb", `"a\nb"`},
		{`true`, "jsonb", "true"},
		{`1.10`, "jsonb", "1.10"},
		{`12345678901234567890.123`, "jsonb", "12345678901234567890.123"},
		{`[]`, "jsonb", "[]"},
		{`"AP8="`, "jsonb", `"AP8="`},
	} {
		got, err := value(json.RawMessage(c.raw), c.typ)
		if err != nil || got == nil || *got != c.want {
			t.Errorf("%s as %s gives %q, %v", c.raw, c.typ, text(got), err)
		}
	}
	for _, typ := range []string{"text", "bytea", "jsonb", "integer", "boolean"} {
		if got, err := value(json.RawMessage("null"), typ); got != nil || err != nil {
			t.Errorf("null as %s gives %q, %v", typ, text(got), err)
		}
	}
	for raw, typ := range map[string]string{`1`: "bigint", `1.5`: "numeric", `"A"`: "bytea", `12`: "bytea", ``: "text"} {
		if got, err := value(json.RawMessage(raw), typ); err == nil || strings.Contains(err.Error(), "1") {
			t.Errorf("%s as %s gives %q, %v", raw, typ, text(got), err)
		}
	}
}

func text(v fold.Value) string {
	if v == nil {
		return "NULL"
	}
	return *v
}

// TestRawIsVerbatim: the JSON reader on the way must not touch the text of a jsonb value.
func TestRawIsVerbatim(t *testing.T) {
	var d document
	in := `{"after":{"j":{"b": 1.0, "aa": [1, 2e3, "\u0000 é"]} , "n" : null}}`
	if err := json.Unmarshal([]byte(in), &d); err != nil {
		t.Fatal(err)
	}
	if got := string(d.After["j"]); got != `{"b": 1.0, "aa": [1, 2e3, "\u0000 é"]}` || string(d.After["n"]) != "null" {
		t.Errorf("the value reads %s, %s", got, d.After["n"])
	}
}

func TestToken(t *testing.T) {
	for name, want := range map[string]string{"a_B-9": "a_B-9", "my.Orders": "my%2EOrders", "": "%", "é *>": "%C3%A9%20%2A%3E", "%": "%25"} {
		if got := token(name); got != want {
			t.Errorf("%q gives %q, want %q", name, got, want)
		}
	}
}

func TestRowsThatDiffer(t *testing.T) {
	want := map[string]uint64{"a": 1, "b": 2, "c": 3}
	for got, have := range map[string]map[string]uint64{
		"rows do not differ by key":                                              {"a": 1, "b": 2, "c": 3},
		`key "b" is different, key "c" is missing, key "d" is too many`:          {"a": 1, "b": 9, "d": 4},
		`key "a" is missing, key "b" is missing, key "c" is missing, and 1 more`: {"z": 9},
	} {
		if text := compareRows(want, have); text != got {
			t.Errorf("%v: %s", have, text)
		}
	}
}
