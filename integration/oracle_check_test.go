package integration

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"tidemark/internal/postgres/pgtest"
)

// TestOracleNotices: what is to find errors finds each of them: a value, a row too many, one too few, one of two equal rows, a null.
func TestOracleNotices(t *testing.T) {
	conn := connect(t, pgtest.Database(t, 0))
	sql(t, conn, shapes)
	want := digest(t, conn)
	for _, damage := range []string{
		`update "Mix.ed"."Items" set qty = qty + 1 where id = 1`,
		`update "Mix.ed"."Items" set qty = null where id = 1`,
		`update "Mix.ed"."Items" set note = left(note, -1) where id = 50`,
		`delete from "Mix.ed"."Items" where id = 2`,
		`insert into "Mix.ed".dups values (0, 'b')`,
		`delete from "Mix.ed".dups where ctid = (select ctid from "Mix.ed".dups limit 1)`,
		`insert into "Mix.ed".events values (1, 'x')`,
		`drop table "Mix.ed".shrink`,
		`create table "Mix.ed".more ()`,
	} {
		sql(t, conn, "begin", damage)
		if len(differences(want, digest(t, conn))) != 1 {
			t.Errorf("not noticed: %s", damage)
		}
		sql(t, conn, "rollback")
	}
	if d := differences(want, digest(t, conn)); len(d) > 0 {
		t.Errorf("differences without damage: %v", d)
	}
}

// change is a message as the stream holds it.
func change(t *testing.T, text string) message {
	t.Helper()
	var m message
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestFold folds by hand what the stream can hold, and refuses what cannot be.
func TestFold(t *testing.T) {
	keyed := &folded{table: table{schema: "s", name: "t", columns: []string{"id", "v", "b"}, types: []string{"bigint", "text", "bytea"}, key: []string{"id"}}, rows: map[string][]*string{}, bag: map[string]int{}}
	full := &folded{table: table{schema: "s", name: "t", columns: []string{"a", "j"}, types: []string{"integer", "jsonb"}}, rows: map[string][]*string{}, bag: map[string]int{}}
	steps := []struct {
		on   *folded
		text string
		err  error // nil: folds
	}{
		{keyed, `{"op":"insert","key":{"id":"1"},"after":{"id":"1","v":"x\ty","b":"AP8="}}`, nil},
		{keyed, `{"op":"update","key":{"id":"1"},"after":{"id":"1","v":null},"unchanged":["b"]}`, nil},
		{keyed, `{"op":"update","key":{"id":"2"},"before":{"id":"1"},"after":{"id":"2","v":"z"},"unchanged":["b"]}`, nil},
		{keyed, `{"op":"update","key":{"id":"1"},"after":{"id":"1","v":"z","b":null}}`, errNoRow},
		{keyed, `{"op":"delete","key":{"id":"1"},"before":{"id":"1"}}`, errNoRow},
		{full, `{"op":"insert","after":{"a":1,"j":{"k": 1}}}`, nil},
		{full, `{"op":"insert","after":{"a":1,"j":{"k": 1}}}`, nil},
		{full, `{"op":"update","before":{"a":1,"j":{"k": 1}},"after":{"a":2,"j":null}}`, nil},
		{full, `{"op":"delete","before":{"a":3,"j":null}}`, errNoRow},
	}
	for _, s := range steps {
		if err := s.on.apply(change(t, s.text)); !errors.Is(err, s.err) {
			t.Errorf("%s gives %v", s.text, err)
		}
	}
	if err := keyed.apply(change(t, `{"op":"insert","after":{"id":"2","v":"z","b":null}}`)); err == nil {
		t.Error("a key that is there is inserted again")
	}
	if got := read(keyed); !slices.Equal(got, []string{"2\tz\t\\\\x00ff"}) {
		t.Errorf("keyed table is %q", got)
	}
	if got := read(full); !slices.Equal(got, []string{"1\t{\"k\": 1}", "2\t\\N"}) {
		t.Errorf("full table is %q", got)
	}
	if err := full.apply(change(t, `{"op":"truncate"}`)); err != nil || len(read(full)) != 0 {
		t.Errorf("truncate leaves %q, %v", read(full), err)
	}
}

func read(tb *folded) []string {
	var b strings.Builder
	buffer := make([]byte, 4096)
	for r := tb.lines(); ; {
		n, err := r.Read(buffer)
		b.Write(buffer[:n])
		if err != nil {
			break
		}
	}
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	if b.Len() == 0 {
		lines = nil
	}
	slices.Sort(lines)
	return lines
}
