package apply_test

import (
	"fmt"
	"testing"

	"tidemark/internal/postgres/pgtest"
	"tidemark/internal/segment"
)

type frame = segment.Frame

// sourceTables are the tables of the source's own schema that matter here.
var sourceTables = []string{
	"create schema if not exists tidemark",
	"create table tidemark.sequence(schema_name text, sequence_name text, last_value bigint not null, is_called boolean not null, increment bigint not null, primary key (schema_name, sequence_name))",
	"create table tidemark.heartbeat(id int primary key, at timestamptz)",
}

func TestSequences(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		r := newRig(t, major,
			"create sequence up", `create sequence "Do""wn" increment -5 minvalue -1000 maxvalue -1 start -1`, "create sequence small maxvalue 40", "create sequence fresh start 7",
			"create sequence top as bigint", "create sequence cyc maxvalue 50 cycle", "create table a(id serial primary key)")
		pgtest.Exec(t, r.source.URL, append(sourceTables,
			"insert into tidemark.sequence values ('public', 'up', 100, true, 1), ('public', 'Do\"wn', -21, true, -5), ('public', 'small', 20, true, 1), ('public', 'fresh', 7, false, 1)",
			"insert into tidemark.sequence values ('public', 'missing', 5, true, 1), ('nowhere', 'up', 5, true, 1), ('public', 'a_id_seq', 9, true, 1), ('public', 'top', 9223372036854775800, true, 1), ('public', 'cyc', 49, true, 1)",
			"update tidemark.sequence set last_value = 200 where sequence_name = 'up' and schema_name = 'public'",
			"delete from tidemark.sequence where schema_name = 'nowhere'", "insert into tidemark.heartbeat values (1, now())", "update tidemark.heartbeat set at = now()",
		)...)
		frames := r.source.Frames(t)
		end := frames[len(frames)-1].End
		if err := r.apply(t, frames); err != nil {
			t.Fatal(err)
		}
		if lsn, err := r.applier.Flush(t.Context()); err != nil || lsn != end {
			t.Fatalf("flush gives %s, %v; want %s", lsn, err, end)
		}
		conn := pgtest.Connect(t, r.target)
		for name, want := range map[string]int64{
			"up": 200 + 32 + 1, `"Do""wn"`: -21 - 32*5 - 5, "small": 40, "fresh": 7 + 32, "a_id_seq": 9 + 32 + 1, "top": 9223372036854775807, "cyc": 50,
		} {
			var got int64
			if err := conn.QueryRow(t.Context(), fmt.Sprintf("select nextval('%s')", name)).Scan(&got); err != nil || got != want {
				t.Errorf("next value of %s is %d, %v; want %d", name, got, err, want)
			}
		}
	})
}

// TestBookkeepingOnly moves the position by transactions that have no effect on the target.
func TestBookkeepingOnly(t *testing.T) {
	r := newRig(t, 0)
	pgtest.Exec(t, r.source.URL, append(sourceTables, "insert into tidemark.heartbeat values (1, now())", "truncate tidemark.heartbeat")...)
	frames := r.source.Frames(t)
	if err := r.apply(t, frames); err != nil {
		t.Fatal(err)
	}
	end := frames[len(frames)-1].End
	if lsn, err := r.applier.Flush(t.Context()); err != nil || lsn != end {
		t.Fatalf("flush gives %s, %v; want %s", lsn, err, end)
	}
	_ = r.applier.Close(t.Context())
	if at := r.open(t); at != end {
		t.Fatalf("reopened at %s, want %s", at, end)
	}
}
