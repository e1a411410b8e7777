package event

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"tidemark/internal/change"
)

func typed(oid uint32) change.Column { return change.Column{Name: "c", Type: oid, TypeMod: -1} }

func domain(base string) change.Column {
	return change.Column{Name: "c", Type: 20000, TypeName: base, TypeMod: -1}
}

func TestValue(t *testing.T) {
	for _, c := range []struct {
		column     change.Column
		text, want string
	}{
		{typed(21), "-32768", `-32768`},
		{typed(23), "2147483647", `2147483647`},
		{typed(20), "9223372036854775807", `"9223372036854775807"`},
		{typed(26), "4294967295", `"4294967295"`},
		{typed(1700), "1.10", `"1.10"`},
		{typed(700), "3.4028235e+38", `3.4028235e+38`},
		{typed(701), "5e-324", `5e-324`},
		{typed(701), "-0", `-0`},
		{typed(701), "NaN", `"NaN"`},
		{typed(700), "-Infinity", `"-Infinity"`},
		{typed(16), "t", `true`},
		{typed(16), "f", `false`},
		{typed(114), ` {"a": 1e400, "a" : [ 2]} `, ` {"a": 1e400, "a" : [ 2]} `},
		{typed(3802), `null`, `null`},
		{typed(17), `\x`, `""`},
		{typed(17), `\x00ff5c27`, `"AP9cJw=="`},
		{typed(25), "", `""`},
		{typed(25), "a\"\\\n\r\t\x01\x7f\u2028🌊/<", `"a\"\\\n\r\t\u0001` + "\x7f\u2028" + `🌊/<"`},
		{typed(1114), "0044-03-15 12:00:00 BC", `"0044-03-15 12:00:00 BC"`},
		{typed(1007), "[0:1]={1,NULL}", `"[0:1]={1,NULL}"`},
		{typed(1000), "{t,f}", `"{t,f}"`},
		{domain("pg_catalog.int4"), "5", `5`},
		{domain("pg_catalog.float8"), "NaN", `"NaN"`},
		{domain("pg_catalog.bool"), "t", `true`},
		{domain("pg_catalog.jsonb"), "[]", `[]`},
		{domain("pg_catalog.bytea"), `\x01`, `"AQ=="`},
		{domain("pg_catalog.int8"), "5", `"5"`},
		{domain("public.mood"), "sad", `"sad"`},
	} {
		var scratch []byte
		got, err := appendValue([]byte("<"), change.Value{Kind: change.Text, Data: []byte(c.text)}, formOf(c.column), &scratch)
		if err != nil || string(got) != "<"+c.want {
			t.Errorf("%q of type %d %s is %s, %v; want %s", c.text, c.column.Type, c.column.TypeName, got, err, c.want)
		}
	}
}

func TestValueRefuses(t *testing.T) {
	deep := strings.Repeat("[", 10001) + strings.Repeat("]", 10001)
	for _, c := range []struct {
		oid  uint32
		kind change.Kind
		data string
	}{
		{25, change.Text, "s3cret\xff"},
		{701, change.Text, "s3cret\xff"},
		{114, change.Text, `"s3cret` + "\xff" + `"`},
		{114, change.Text, `{"s3cret`},
		{114, change.Text, deep},
		{16, change.Text, "s3cret"},
		{17, change.Text, `s3cret\000`},
		{17, change.Text, `\x0`},
		{17, change.Text, `\xs3cret`},
		{25, change.Binary, "s3cret"},
		{25, change.Unchanged, ""},
	} {
		var scratch []byte
		got, err := appendValue(nil, change.Value{Kind: c.kind, Data: []byte(c.data)}, formOf(typed(c.oid)), &scratch)
		if !errors.Is(err, ErrUnencodable) || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "'s'") {
			t.Errorf("%.20q of type %d is %.20q, %v", c.data, c.oid, got, err)
		}
	}
}

func TestIsNumber(t *testing.T) {
	for s, want := range map[string]bool{
		"0": true, "-0": true, "10": true, "1.5": true, "1e+20": true, "1E-05": true, "-1.5e3": true,
		"": false, "-": false, "01": false, "+1": false, "1.": false, ".5": false, "1e": false, "1e+": false, "1x": false, "1.5x": false, "1e5x": false, "--1": false, "0x1": false, "NaN": false,
	} {
		if got := isNumber([]byte(s)); got != want {
			t.Errorf("isNumber(%q) is %v", s, got)
		}
		if got := isNumber([]byte(s)); got != json.Valid([]byte(s)) {
			t.Errorf("JSON itself says otherwise of %q", s)
		}
	}
}

// FuzzValue: whatever the bytes, the result is JSON from which they can be had again, or an error.
func FuzzValue(f *testing.F) {
	oids := []uint32{16, 17, 21, 701, 114, 3802, 25, 1700}
	for i := range oids {
		for _, s := range []string{"t", `\x00ff`, "-1.5e+10", `{"a": [1, "\u2028"]}`, "a\"\\\n\x00é", "\xff", "NaN"} {
			f.Add([]byte(s), uint8(i))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, which uint8) {
		oid := oids[int(which)%len(oids)]
		var scratch []byte
		got, err := appendValue(nil, change.Value{Kind: change.Text, Data: data}, formOf(typed(oid)), &scratch)
		if err != nil {
			if !errors.Is(err, ErrUnencodable) {
				t.Fatalf("error %v is not ErrUnencodable", err)
			}
			return
		}
		if oid == 17 {
			data = bytes.ToLower(data) // the server writes lower-case hex; upper case means the same
		}
		if back, ok := original(t, oid, got); !ok || back != string(data) {
			t.Fatalf("%q of type %d is %s, and that is %q", data, oid, got, back)
		}
	})
}

// original reads PostgreSQL's text back from a JSON value, with nothing of the encoder's.
func original(t *testing.T, oid uint32, raw []byte) (string, bool) {
	t.Helper()
	if !json.Valid(raw) || !utf8.Valid(raw) {
		t.Fatalf("%q is not JSON", raw)
	}
	if oid == 114 || oid == 3802 {
		return string(raw), true
	}
	switch s := string(raw); {
	case s == "true":
		return "t", oid == 16
	case s == "false":
		return "f", oid == 16
	case s[0] != '"':
		return s, oid == 21 || oid == 23 || oid == 700 || oid == 701
	}
	var s string
	must(t, json.Unmarshal(raw, &s))
	if oid != 17 {
		return s, oid != 16
	}
	b, err := base64.StdEncoding.DecodeString(s)
	must(t, err)
	return `\x` + hex.EncodeToString(b), true
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
