package apply_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"tidemark/internal/apply"
	"tidemark/internal/apply/applytest"
	"tidemark/internal/position"
	"tidemark/internal/postgres/pgtest"
	"tidemark/internal/segment"
)

// canary is a value that no error may show.
const canary = "Canary-8c1f"

// reopen gives up the applier and takes up where the target stands: it applies what lies behind.
func (r *rig) reopen(t *testing.T, frames []segment.Frame) {
	t.Helper()
	_ = r.applier.Close(t.Context())
	at := r.open(t)
	for i := range frames {
		if frames[i].Kind == segment.Part && frames[i].End <= at {
			continue
		}
		if err := r.frame(t, &frames[i]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.applier.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	applytest.Compare(t, r.left, r.right)
}

func kill(t *testing.T, url string) {
	t.Helper()
	pgtest.Exec(t, url, "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'tidemark apply'")
}

var history = []string{
	"insert into a select i, 'x' from generate_series(1, 5) i", "update a set v = v || id", "delete from a where id = 2", "insert into a values (2, 'again')",
	"update a set id = -id; insert into a select i, 'more' from generate_series(10, 20) i; delete from a where id < -3",
}

func TestKilledAnywhere(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		r := newRig(t, major, "create table a(id int primary key, v text)")
		pgtest.Exec(t, r.source.URL, history...)
		r.source.Parts = 3
		frames := r.source.Frames(t)
		for cut := range frames {
			for _, flush := range []bool{true, false} {
				pgtest.Exec(t, r.target, "truncate a", "update tidemark.progress set end_lsn = '0/1'")
				_ = r.applier.Close(t.Context())
				r.open(t)
				for i := range frames[:cut] {
					if err := r.frame(t, &frames[i]); err != nil {
						t.Fatal(err)
					}
					if flush {
						if _, err := r.applier.Flush(t.Context()); err != nil {
							t.Fatal(err)
						}
					}
				}
				kill(t, r.target)
				r.reopen(t, frames)
			}
		}
	})
}

// TestLostReply loses the server's answer to COMMIT: the transaction took effect, and must not be applied again.
func TestLostReply(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		r := newRig(t, major, "create table a(id int, v text)", "alter table a replica identity full")
		pgtest.Exec(t, r.source.URL, "insert into a values (1, 'x')", "update a set v = v || '+'", "insert into a values (1, 'x')")
		frames := r.source.Frames(t)
		direct := r.target
		for _, forward := range []bool{true, false} {
			t.Run(fmt.Sprintf("arrives=%v", forward), func(t *testing.T) {
				pgtest.Exec(t, direct, "truncate a", "update tidemark.progress set end_lsn = '0/1'")
				_ = r.applier.Close(t.Context())
				r.target = cutAtCommit(t, direct, forward)
				r.open(t)
				if err := r.apply(t, frames); err != nil {
					t.Fatal(err)
				}
				if lsn, err := r.applier.Flush(t.Context()); err == nil {
					t.Fatalf("flush gives %s although the reply was lost", lsn)
				}
				r.target = direct
				r.reopen(t, frames)
			})
		}
	})
}

func TestFlushKeepsTransactionsWhole(t *testing.T) {
	r := newRig(t, 0, "create table a(id int primary key)")
	pgtest.Exec(t, r.source.URL, "insert into a values (1)", "insert into a select i from generate_series(10, 15) i")
	r.source.Parts = 2
	frames := r.source.Frames(t)
	count := func() (n int) {
		if err := pgtest.Connect(t, r.target).QueryRow(t.Context(), "select count(*) from a").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for i := range frames {
		if err := r.frame(t, &frames[i]); err != nil {
			t.Fatal(err)
		}
		lsn, err := r.applier.Flush(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n := count(); n != 0 && n != 1 && n != 7 {
			t.Fatalf("a reader sees %d rows", n)
		}
		if last := frames[i].Last; last != (lsn == frames[i].End) {
			t.Fatalf("frame %d (last %v) ends at %s, flush gives %s", i, last, frames[i].End, lsn)
		}
	}
	if n := count(); n != 7 {
		t.Fatalf("target has %d rows in the end", n)
	}
}

func TestRollback(t *testing.T) {
	r := newRig(t, 0, "create table a(id int primary key, u int unique deferrable)")
	pgtest.Exec(t, r.source.URL, "insert into a values (1, 1)", "update a set id = 2")
	frames := r.source.Frames(t)
	if err := r.apply(t, frames); err != nil {
		t.Fatal(err)
	}
	if err := r.applier.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if lsn, err := r.applier.Flush(t.Context()); err != nil || lsn != 1 {
		t.Fatalf("flush behind a rollback gives %s, %v", lsn, err)
	}
	if err := r.apply(t, frames); err != nil {
		t.Fatal(err)
	}
	if _, err := r.applier.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	applytest.Compare(t, r.left, r.right)
}

func TestSecondApplier(t *testing.T) {
	r := newRig(t, 0, "create table a(id int primary key)")
	cfg := apply.Config{URL: r.target, Stream: stream, Name: "second", LockWait: 100 * time.Millisecond}
	if _, err := apply.Open(t.Context(), cfg, slog.New(slog.DiscardHandler)); !errors.Is(err, apply.ErrLocked) || !strings.Contains(err.Error(), `application "tidemark apply"`) {
		t.Fatalf("second applier: %v", err)
	}
	cfg.LockWait = time.Minute
	done := make(chan error, 1)
	go func() {
		b, err := apply.Open(context.Background(), cfg, slog.New(slog.DiscardHandler))
		if err == nil {
			err = b.Close(context.Background())
		}
		done <- err
	}()
	waitFor(t, r.target, "select exists(select from pg_locks where locktype = 'advisory' and not granted)")
	if err := r.applier.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatalf("second applier, after the first: %v", err)
	}
}

func waitFor(t *testing.T, url, query string) {
	t.Helper()
	conn := pgtest.Connect(t, url)
	for ok := false; !ok; {
		if err := conn.QueryRow(t.Context(), query).Scan(&ok); err != nil {
			t.Fatal(err)
		}
		select {
		case <-t.Context().Done():
			t.Fatal("waited in vain")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestFenced(t *testing.T) {
	for name, foul := range map[string]string{
		"moved": "update tidemark.progress set end_lsn = '0/99'", "removed": "delete from tidemark.progress",
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 0, "create table a(id int primary key)")
			pgtest.Exec(t, r.source.URL, "insert into a values (1)")
			if err := r.apply(t, r.source.Frames(t)); err != nil {
				t.Fatal(err)
			}
			pgtest.Exec(t, r.target, foul)
			if _, err := r.applier.Flush(t.Context()); !errors.Is(err, apply.ErrFenced) {
				t.Fatalf("flush: %v", err)
			}
			_ = r.applier.Close(t.Context())
			var n int
			if err := pgtest.Connect(t, r.target).QueryRow(t.Context(), "select count(*) from a").Scan(&n); err != nil || n != 0 {
				t.Fatalf("%d rows are on the target, %v", n, err)
			}
		})
	}
}

func TestStreams(t *testing.T) {
	url := pgtest.Database(t, 0)
	a := open(t, url)
	if lsn, seeded, err := a.Position(t.Context()); lsn != 0 || seeded || err != nil {
		t.Fatalf("empty target: %s, %v, %v", lsn, seeded, err)
	}
	if err := a.Begin(t.Context(), apply.Transaction{}); !errors.Is(err, apply.ErrNotSeeded) {
		t.Fatalf("begin on an empty target: %v", err)
	}
	_ = a.Close(t.Context())
	conn := pgtest.Connect(t, url)
	if err := apply.SetProgress(t.Context(), conn, "other/db", 0x1234, position.TimeOf(time.Now())); err != nil {
		t.Fatal(err)
	}
	a = open(t, url)
	var other *apply.StreamError
	if _, _, err := a.Position(t.Context()); !errors.As(err, &other) {
		t.Fatalf("target of another stream: %v", err)
	}
	_ = a.Close(t.Context())
	if err := apply.SetProgress(t.Context(), conn, stream, 0x16B374D848, 0); err != nil {
		t.Fatal(err)
	}
	if lsn, seeded, err := open(t, url).Position(t.Context()); lsn != 0x16B374D848 || !seeded || err != nil {
		t.Fatalf("seeded target: %s, %v, %v", lsn, seeded, err)
	}
}

// TestRefused applies changes that the target must refuse. The error names the place and shows no value; once the
// target is mended, another applier goes on.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		name       string
		prepare    string // both sides, before
		foul, mend string // target only
		run        string
		want       []string
		is         any
	}{
		{name: "missing row, update", prepare: "insert into a values (1, 'x')", foul: "delete from a", run: "update a set v = '" + canary + "'", mend: "insert into a values (1, 'x')", want: []string{"update", "public.a", "ordinal 0", "differs"}},
		{name: "missing row, delete", prepare: "insert into a values (1, 'x')", foul: "delete from a", run: "delete from a", mend: "insert into a values (1, 'x')", want: []string{"delete", "public.a"}},
		{name: "missing row, nothing to set", prepare: "insert into k values ('k')", foul: "delete from k", run: "insert into a values (7, 'y'); update k set v = v", mend: "insert into k values ('k')", want: []string{"update", "public.k", "ordinal 1"}},
		{name: "duplicate", foul: "insert into a values (1, 'there')", run: "insert into a values (1, '" + canary + "')", mend: "delete from a", want: []string{"insert", "23505", "a_pkey"}},
		{name: "check", foul: "alter table a add check (v = 'other')", run: "insert into a values (1, '" + canary + "')", mend: "alter table a drop constraint a_v_check", want: []string{"23514", "a_v_check"}},
		{name: "extra column", foul: "alter table a add must int not null", run: "insert into a values (1, '" + canary + "')", mend: "alter table a drop must", want: []string{"23502", `"must"`}},
		{name: "trigger", foul: "create function no() returns trigger language plpgsql as $$ begin return null; end $$; create trigger no before insert on a for each row execute function no(); alter table a enable always trigger no", run: "insert into a values (1, '" + canary + "')", mend: "drop trigger no on a", want: []string{"0 rows"}},
		{name: "raising trigger", foul: "create function no() returns trigger language plpgsql as $$ begin raise '%', new.v; end $$; create trigger no before insert on a for each row execute function no(); alter table a enable always trigger no", run: "insert into a values (1, '" + canary + "')", mend: "drop trigger no on a", want: []string{"P0001"}},
		{name: "trigger with a code of its own", foul: "create function no() returns trigger language plpgsql as $$ begin raise '%', new.v using errcode = 'XX999'; end $$; create trigger no before insert on a for each row execute function no(); alter table a enable always trigger no", run: "insert into a values (1, '" + canary + "')", mend: "drop trigger no on a", want: []string{"XX999"}},
		{name: "enum label", prepare: "create type e as enum ('x'); create table en(id int primary key, e e)", foul: "select 1", run: "alter type e add value '" + canary + "'", mend: "select 1"},
		{name: "deferrable duplicate", prepare: "create table d(id int primary key, u text unique deferrable)", foul: "insert into d values (9, '" + canary + "')", run: "insert into d values (1, '" + canary + "')", mend: "delete from d where id = 9", want: []string{"d_u_key", "differs"}},
		{name: "deferrable overlap", prepare: "create table o(id int primary key, r int4range, exclude using gist (r with &&) deferrable)", foul: "insert into o values (9, '[1,3)')", run: "insert into o values (1, '[2,5)')", mend: "delete from o where id = 9", want: []string{"o_r_excl"}},
		{name: "missing table", foul: "drop table a", run: "insert into a values (1, '" + canary + "')", mend: "create table a(id int primary key, v text)", want: []string{"public.a", "is missing"}, is: new(*apply.MismatchError)},
		{name: "missing column", foul: "alter table a drop v", run: "insert into a values (1, '" + canary + "')", mend: "alter table a add v text", want: []string{"public.a", `"v"`, "is missing"}, is: new(*apply.MismatchError)},
		{name: "other type", foul: "alter table a alter v type bytea using v::bytea", run: "insert into a values (1, '" + canary + "')", mend: "alter table a alter v type text using v::text", want: []string{`"v"`, "bytea"}, is: new(*apply.MismatchError)},
		{name: "narrower type", prepare: "create table n(id int primary key, n numeric(8,2))", foul: "alter table n alter n type numeric(8,1)", run: "insert into n values (1, 1.25)", mend: "alter table n alter n type numeric(8,2)", want: []string{`"n"`, "limits"}, is: new(*apply.MismatchError)},
		{name: "view", foul: "drop table a; create view a as select 1 as id, ''::text as v", run: "insert into a values (1, '" + canary + "')", mend: "drop view a; create table a(id int primary key, v text)", want: []string{"not a table"}, is: new(*apply.MismatchError)},
		{name: "referenced", prepare: "create table b(id int primary key)", foul: "create table refers(id int references b)", run: "truncate b", mend: "drop table refers", want: []string{"public.b", "foreign key"}, is: new(*apply.MismatchError)},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, 0, "create table a(id int primary key, v text)", "create table k(v text primary key)")
			if c.prepare != "" {
				pgtest.Exec(t, r.target, c.prepare)
				pgtest.Exec(t, r.source.URL, c.prepare)
				at := r.source.Frames(t)
				if len(at) > 0 && at[len(at)-1].End > 0 {
					_ = r.applier.Close(t.Context())
					pgtest.Exec(t, r.target, "update tidemark.progress set end_lsn = '"+at[len(at)-1].End.String()+"'")
					r.open(t)
				}
				for i := range at {
					if at[i].Kind == segment.Definition {
						if err := r.decoder.Define(at[i].Payload); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			pgtest.Exec(t, r.target, c.foul)
			pgtest.Exec(t, r.source.URL, c.run)
			frames := r.source.Frames(t)
			if c.name == "enum label" {
				pgtest.Exec(t, r.source.URL, "insert into en values (1, '"+canary+"')")
				frames = append(frames, r.source.Frames(t)...)
				c.want, c.mend = []string{"22P02"}, "alter type e add value '"+canary+"'"
			}
			err := r.apply(t, frames)
			if err == nil {
				_, err = r.applier.Flush(t.Context())
			}
			if err == nil {
				t.Fatal("the target did not refuse")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
			if strings.Contains(err.Error(), canary) {
				t.Errorf("error shows a value: %v", err)
			}
			if c.is != nil && !errors.As(err, c.is) {
				t.Errorf("error is a %T: %v", err, err)
			}
			if err2 := r.applier.Row(t.Context(), changeOf(t)); !errors.Is(err2, err) {
				t.Errorf("a failed applier goes on: %v", err2)
			}
			_ = r.applier.Close(t.Context())
			pgtest.Exec(t, r.target, c.mend)
			r.reopen(t, frames)
		})
	}
}

// TestCancelled ends the caller's context while the target's row is locked by somebody.
func TestCancelled(t *testing.T) {
	r := newRig(t, 0, "create table a(id int primary key, v text)")
	r.run(t, "insert into a values (1, 'x')")
	blocker := pgtest.Connect(t, r.target)
	if _, err := blocker.Exec(t.Context(), "begin"); err != nil {
		t.Fatal(err)
	}
	if _, err := blocker.Exec(t.Context(), "select from a for update"); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, r.source.URL, "update a set v = 'y'")
	frames := r.source.Frames(t)
	if err := r.apply(t, frames); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := r.applier.Flush(ctx)
		done <- err
	}()
	waitFor(t, r.target, "select exists(select from pg_locks where not granted)")
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("flush: %v", err)
	}
	if _, err := blocker.Exec(t.Context(), "rollback"); err != nil {
		t.Fatal(err)
	}
	r.reopen(t, frames)
}

// TestSchemaChange changes tables under an applier that has statements prepared for them.
func TestSchemaChange(t *testing.T) {
	r := newRig(t, 0, "create table a(id int primary key, v text)", "create table i(id int generated always as identity primary key, v text)")
	r.run(t, "insert into a values (1, 'x')", "insert into i(v) values ('a')", "update i set id = default")
	both := func(ddl string) {
		pgtest.Exec(t, r.target, ddl)
		pgtest.Exec(t, r.source.URL, ddl)
	}
	both("alter table a add w int")
	r.run(t, "insert into a values (2, 'y', 7)", "update a set w = 8 where id = 1")
	both("alter table a drop v; alter table a add v int; alter table i add n numeric default 1")
	r.run(t, "update a set v = 3", "update i set id = default, v = null", "insert into i(v, n) values ('q', null)")
	both("alter table a rename to b; alter table b rename id to key; create table a(id int primary key)")
	r.run(t, "insert into a values (1)", "update b set key = key + 10", "delete from a")
}
