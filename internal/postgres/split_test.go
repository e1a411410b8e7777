package postgres

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	tests := map[string]struct {
		in   string
		want []string
	}{
		"two":               {"select 1; select 2;", []string{"select 1;", "select 2;"}},
		"last without end":  {"select 1;\n select 2 ", []string{"select 1;", "select 2 "}},
		"psql's lines":      {"\\restrict abc\n\nselect 1;\n\\unrestrict abc\n", []string{"select 1;"}},
		"backslash inside":  {"select '\n\\restrict abc\n';", []string{"select '\n\\restrict abc\n';"}},
		"quotes":            {`select 'a;''b;', "x;""y;";select 2;`, []string{`select 'a;''b;', "x;""y;";`, "select 2;"}},
		"backslash is none": {`select 'a\';select 2;`, []string{`select 'a\';`, "select 2;"}},
		"escapes":           {`select E'a\';b';select 2;`, []string{`select E'a\';b';`, "select 2;"}},
		"name before quote": {`select date'a\';select 2;`, []string{`select date'a\';`, "select 2;"}},
		"dollars":           {"do $a$ x; $b$; $$; $a$; select 2;", []string{"do $a$ x; $b$; $$; $a$;", "select 2;"}},
		"dollar in a name":  {"select a$b; select c$b;", []string{"select a$b;", "select c$b;"}},
		"parameters":        {"select $1; select $1;", []string{"select $1;", "select $1;"}},
		"comments":          {"-- a;\n/* b; /* c; */ d; */ select 1 -- e;\n + 2;", []string{"select 1 -- e;\n + 2;"}},
		"rule": {"create rule r as on insert to t do (delete from a; delete from b); select 2;",
			[]string{"create rule r as on insert to t do (delete from a; delete from b);", "select 2;"}},
		"atomic": {"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END; select 3;",
			[]string{"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END;", "select 3;"}},
		"function called begin": {"CREATE OR REPLACE FUNCTION public.begin() RETURNS int LANGUAGE sql AS $$ select 1; $$; select 3;",
			[]string{"CREATE OR REPLACE FUNCTION public.begin() RETURNS int LANGUAGE sql AS $$ select 1; $$;", "select 3;"}},
		"transaction": {"begin; select 1; end; select 2;", []string{"begin;", "select 1;", "end;", "select 2;"}},
		"nothing":     {" ; -- x\n ;;", nil},
		"open":        {"select 'abc", []string{"select 'abc"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, s := range split([]byte(test.in)) {
				got = append(got, string(s.text))
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %q\nwant %q", got, test.want)
			}
		})
	}
}

func FuzzSplit(f *testing.F) {
	for _, s := range []string{"select 1;", "$a$ $a$;", "E'\\", "/*/*", "\"", "\\x\n$", "CREATE FUNCTION BEGIN ATOMIC;END;"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		at := 0
		for _, s := range split(in) {
			if s.start < at || len(s.text) == 0 || !bytes.Equal(in[s.start:s.start+len(s.text)], s.text) {
				t.Fatalf("statement at %d after %d: %q", s.start, at, s.text)
			}
			at = s.start + len(s.text)
			s.words(5)
		}
	})
}

func TestWithoutOwn(t *testing.T) {
	dump := `CREATE EVENT TRIGGER tidemark_ddl ON ddl_command_end
         WHEN TAG IN ('CREATE TABLE')
   EXECUTE FUNCTION tidemark.record_ddl();
ALTER EVENT TRIGGER tidemark_ddl ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER tidemark_ddl IS 'x; y';
CREATE EVENT TRIGGER theirs ON ddl_command_end
   EXECUTE FUNCTION public.tidemark();
COMMENT ON EVENT TRIGGER theirs IS 'tidemark.x()';
`
	got := string(withoutOwn([]byte(dump)))
	if strings.Contains(got, "tidemark_ddl") || !strings.Contains(got, "EXECUTE FUNCTION public.tidemark()") || !strings.Contains(got, "COMMENT ON EVENT TRIGGER theirs") {
		t.Errorf("got %s", got)
	}
	if strings.Count(got, "\n") != strings.Count(dump, "\n") {
		t.Error("lines moved")
	}
}
