package event

import (
	"strings"
	"testing"
)

func TestSubject(t *testing.T) {
	long := strings.Repeat("\xf0\x9f\x8c\x8a", 15) + "xyz" // 63 bytes, the longest name
	for _, c := range []struct{ database, schema, table, want string }{
		{"app", "public", "orders", "cdc.app.public.orders.insert"},
		{"App-1", "a_b", "C", "cdc.App-1.a_b.C.insert"},
		{"a.b", "c", "d", "cdc.a%2Eb.c.d.insert"},
		{"*", ">", "$JS.API", "cdc.%2A.%3E.%24JS%2EAPI.insert"},
		{"", "", "", "cdc.%.%.%.insert"},
		{"%", "%41", " \t\n\r", "cdc.%25.%2541.%20%09%0A%0D.insert"},
		{"é", "_commit", "\x00\xff", "cdc.%C3%A9._commit.%00%FF.insert"},
		{long, long, long, ""},
	} {
		got := Subject("cdc", c.database, c.schema, c.table, "insert")
		if c.want != "" && got != c.want {
			t.Errorf("subject is %q, want %q", got, c.want)
		}
		if len(got) > 575+len("cdc") {
			t.Errorf("subject has %d bytes", len(got))
		}
		checkRoundTrip(t, c.database, c.schema, c.table, "insert")
	}
}

func checkRoundTrip(t *testing.T, database, schema, table, op string) {
	t.Helper()
	s := Subject("a.b", database, schema, table, op)
	if strings.ContainsAny(s, "*> \t\r\n\x00") || strings.Contains(s, "..") || strings.Count(s, ".") != 5 {
		t.Errorf("subject %q is not six literal tokens", s)
	}
	d, sc, ta, o, err := ParseSubject("a.b", s)
	if err != nil || d != database || sc != schema || ta != table || o != op {
		t.Errorf("subject %q parses to %q %q %q %q, %v", s, d, sc, ta, o, err)
	}
}

func TestCommitSubject(t *testing.T) {
	s := CommitSubject("cdc", "my.db")
	if s != "cdc.my%2Edb._commit" {
		t.Errorf("subject is %q", s)
	}
	if d, sc, ta, op, err := ParseSubject("cdc", s); err != nil || d != "my.db" || sc != "" || ta != "" || op != OpCommit {
		t.Errorf("subject %q parses to %q %q %q %q, %v", s, d, sc, ta, op, err)
	}
}

func TestParseSubjectRefuses(t *testing.T) {
	for _, s := range []string{
		"", "cdc", "cdc.", "cdc.db", "cdc.db._commit.x", "cdc.db.other", "other.db.s.t.insert", "cdc.db.s.t", "cdc.db.s.t.merge",
		"cdc.db.s.t.insert.x", "cdc.db.s..insert", "cdc.db.s.%2.insert", "cdc.db.s.%2e.insert", "cdc.db.s.%41.insert", "cdc.db.s.*.insert",
		"cdc.db.s.%%.insert", "cdc.db.s.a%.insert", "cdc._commit", "cdcx.db.s.t.insert", "cdc.db.s.%-1.insert",
	} {
		if d, sc, ta, op, err := ParseSubject("cdc", s); err == nil {
			t.Errorf("subject %q parses to %q %q %q %q", s, d, sc, ta, op)
		}
	}
}

func TestCheckPrefix(t *testing.T) {
	for prefix, ok := range map[string]bool{"cdc": true, "a.B-c_9": true, "": false, ".": false, "a.": false, "a..b": false, "a.*": false, ">": false, "a b": false, "é": false, "$JS": false} {
		if err := CheckPrefix(prefix); (err == nil) != ok {
			t.Errorf("prefix %q: %v", prefix, err)
		}
	}
}

func FuzzSubject(f *testing.F) {
	f.Add("app", "public", "orders")
	f.Add("", "%", "a.b")
	f.Fuzz(func(t *testing.T, database, schema, table string) {
		checkRoundTrip(t, database, schema, table, "delete")
	})
}

// FuzzParseSubject: what parses is what Subject makes of the result.
func FuzzParseSubject(f *testing.F) {
	f.Add("cdc.app.public.orders.insert")
	f.Add("cdc.%.%25.a%2Eb.read")
	f.Add("cdc.app._commit")
	f.Fuzz(func(t *testing.T, s string) {
		d, sc, ta, op, err := ParseSubject("cdc", s)
		if err != nil {
			return
		}
		again := Subject("cdc", d, sc, ta, op)
		if op == OpCommit {
			again = CommitSubject("cdc", d)
		}
		if again != s {
			t.Fatalf("%q parses as %q", s, again)
		}
	})
}
