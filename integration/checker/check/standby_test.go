package check

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"tidemark/internal/postgres/pgtest"

	"tidemark/internal/position"

	"tidemark/integration/checker/fold"
)

var standbyTables = []fold.Table{
	{Schema: "s", Name: "keyed", Columns: []fold.Column{{Name: "id", Type: "integer"}, {Name: "a", Type: "text"}}, Key: []int{0}},
	{Schema: "s", Name: "Fu.ll", Columns: []fold.Column{{Name: "a", Type: "boolean"}}, Identity: fold.Full},
}

const standbySchema = `create schema s;
create function s.twice(int) returns int immutable language sql as 'select 2 * $1';
create table s.keyed (id int primary key, a text, twice int generated always as (s.twice(id)) stored);
create table s."Fu.ll" (a bool);
create schema tidemark;
create table tidemark.progress (stream text primary key, end_lsn pg_lsn not null, commit_time timestamptz, seeded_at timestamptz not null default now(), applied_at timestamptz not null default now());
insert into tidemark.progress (stream, end_lsn) values ('73/app', '0/50');`

// standbyHistory is what the reference log says.
func standbyHistory(t *testing.T) (*fold.Timeline, Truth) {
	t.Helper()
	l := fold.NewTimeline(standbyTables)
	txs := []fold.Transaction{
		{End: 0x100, Changes: []fold.Change{
			{Op: fold.Insert, Table: "s.keyed", New: []fold.Value{v("1"), v("x")}}, {Op: fold.Insert, Table: "s.keyed", New: []fold.Value{v("2"), nil}},
			{Op: fold.Insert, Table: "s.Fu.ll", New: []fold.Value{v("t")}}, {Op: fold.Insert, Table: "s.Fu.ll", New: []fold.Value{v("t")}}}},
		{End: 0x200, Changes: []fold.Change{{Op: fold.Truncate, Table: "s.keyed"}, {Op: fold.Insert, Table: "s.keyed", New: []fold.Value{v("3"), v("y")}}}},
	}
	replay := func(to position.LSN, each func(tx fold.Transaction, sums map[string]fold.Sum) error) (*fold.State, error) {
		state := fold.NewState(standbyTables)
		for _, tx := range txs {
			if tx.End > to {
				break
			}
			tx.Published, tx.Commit = true, historyTime
			touched, err := state.Apply(tx)
			if err != nil {
				return nil, err
			}
			sums := map[string]fold.Sum{}
			for _, table := range touched {
				sums[table] = state.Sum(table)
			}
			if err := each(tx, sums); err != nil {
				return nil, err
			}
		}
		return state, nil
	}
	if _, err := replay(0x1000, l.Add); err != nil {
		t.Fatal(err)
	}
	l.Cover(0x1000)
	return l, func(table string, at position.LSN) (map[string]uint64, error) {
		state, err := replay(at, func(fold.Transaction, map[string]fold.Sum) error { return nil })
		if err != nil {
			return nil, err
		}
		return state.Rows(table), nil
	}
}

func readTable(ctx context.Context, tx pgx.Tx, t fold.Table) (*fold.State, error) {
	state := fold.NewState([]fold.Table{t})
	list := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		name := pgx.Identifier{c.Name}.Sanitize()
		list[i] = fmt.Sprintf("case when %s is not null then concat(%s) end", name, name)
	}
	rows, err := tx.Query(ctx, "select array["+strings.Join(list, ", ")+"]::text[] from only "+pgx.Identifier{t.Schema, t.Name}.Sanitize())
	if err != nil {
		return nil, err
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[[]*string])
	if err != nil {
		return nil, err
	}
	for _, values := range all {
		if _, err := state.Apply(fold.Transaction{Changes: []fold.Change{{Op: fold.Insert, Table: t.String(), New: values}}}); err != nil {
			return nil, err
		}
	}
	return state, nil
}

func newStandby(t *testing.T) (*Standby, *pgx.Conn) {
	t.Helper()
	s := &Standby{URL: pgtest.Database(t, 0), Tables: standbyTables}
	s.Timeline, s.Truth = standbyHistory(t)
	s.Digest = func(ctx context.Context, tx pgx.Tx, tables []fold.Table) (map[string]fold.Sum, error) {
		out := map[string]fold.Sum{}
		for _, table := range tables {
			state, err := readTable(ctx, tx, table)
			if err != nil {
				return nil, err
			}
			out[table.String()] = state.Sum(table.String())
		}
		return out, nil
	}
	s.Rows = func(ctx context.Context, tx pgx.Tx, table fold.Table) (map[string]uint64, error) {
		state, err := readTable(ctx, tx, table)
		if err != nil {
			return nil, err
		}
		return state.Rows(table.String()), nil
	}
	conn, err := pgx.Connect(t.Context(), s.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	statements(t, conn, standbySchema)
	return s, conn
}

func statements(t *testing.T, conn *pgx.Conn, list ...string) {
	t.Helper()
	for _, s := range list {
		if _, err := conn.Exec(t.Context(), s, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// apply is what the service does for the first transaction, and for the second.
const (
	applyFirst  = `begin; insert into s.keyed values (1, 'x'), (2, null); insert into s."Fu.ll" values (true), (true); update tidemark.progress set end_lsn = '0/100', commit_time = '2026-03-01 12:00:00.123456Z'; commit`
	applySecond = `begin; truncate s.keyed; insert into s.keyed values (3, 'y'); update tidemark.progress set end_lsn = '0/200', commit_time = '2026-03-01 12:00:00.123456Z'; commit`
)

func TestStandby(t *testing.T) {
	s, conn := newStandby(t)
	for _, step := range []struct {
		sql  string
		want position.LSN
	}{{"", 0x50}, {applyFirst, 0x100}, {"", 0x100}, {applySecond, 0x200},
		{"update tidemark.progress set end_lsn = '0/280', commit_time = now()", 0x280}} { // a frontier
		statements(t, conn, step.sql)
		if at, err := s.Check(t.Context()); err != nil || at != step.want {
			t.Errorf("after %q: at %s, %v", step.sql, at, err)
		}
	}
	statements(t, conn, "update tidemark.progress set end_lsn = '0/200'")
	for range 2 {
		if _, err := s.Check(t.Context()); !violates(err, "it was at 0/280 before") {
			t.Errorf("going back gives %v", err)
		}
	}
}

func violates(err error, want string) bool {
	var v *Violation
	return errors.As(err, &v) && strings.Contains(v.Detail, want)
}

// TestWrongStandbys: each standby is wrong in one way.
func TestWrongStandbys(t *testing.T) {
	s, conn := newStandby(t)
	statements(t, conn, applyFirst)
	for damage, want := range map[string]string{
		"delete from s.keyed where id = 1":                                                              `s.keyed has 1 rows instead of 2: key "1:1" is missing`,
		"update s.keyed set a = 'X' where id = 1":                                                       `s.keyed has 2 rows with other contents: key "1:1" is different`,
		"update s.keyed set a = '' where id = 2":                                                        `key "1:2" is different`,
		"insert into s.keyed values (4, 'x')":                                                           `s.keyed has 3 rows instead of 2: key "1:4" is too many`,
		`delete from s."Fu.ll" where ctid = '(0,1)'`:                                                    `s.Fu.ll has 1 rows instead of 2`,
		`insert into s."Fu.ll" values (true)`:                                                           `s.Fu.ll has 3 rows instead of 2`,
		"truncate s.keyed":                                                                              `s.keyed has 0 rows instead of 2`,
		"update tidemark.progress set end_lsn = '0/200'":                                                `s.keyed has 2 rows instead of 1`,
		"update tidemark.progress set end_lsn = '0/FF', commit_time = null":                             `s.keyed has 2 rows instead of 0`,
		"update tidemark.progress set commit_time = '2026-03-01 12:00:01.123456Z'":                      `commit time is not that of transaction 0/100`,
		"create or replace function s.twice(int) returns int immutable language sql as 'select 3 * $1'": `2 rows of s.keyed have a generated column "twice"`,
	} {
		statements(t, conn, damage)
		_, err := s.Check(t.Context())
		if !violates(err, want) {
			t.Errorf("%s: found %v", damage, err)
		}
		statements(t, conn, "create or replace function s.twice(int) returns int immutable language sql as 'select 2 * $1'", `truncate s.keyed, s."Fu.ll"`, applyFirst)
	}
	if _, err := s.Check(t.Context()); err != nil {
		t.Errorf("without damage: %v", err)
	}
}

// TestProgressRows: a standby that was seeded has one progress row, whatever else is in the copy.
func TestProgressRows(t *testing.T) {
	s, conn := newStandby(t)
	for damage, want := range map[string]string{
		"delete from tidemark.progress":                                              "it has 0 rows",
		"insert into tidemark.progress (stream, end_lsn) values ('74/app', '0/100')": "it has 2 rows",
	} {
		statements(t, conn, "delete from tidemark.progress", "insert into tidemark.progress (stream, end_lsn) values ('73/app', '0/50')")
		if _, err := s.Check(t.Context()); err != nil {
			t.Error(err)
		}
		statements(t, conn, damage)
		other := &Standby{URL: s.URL, Tables: s.Tables, Timeline: s.Timeline, Digest: s.Digest, Rows: s.Rows}
		var v *Violation
		if _, err := other.Check(t.Context()); err == nil || errors.As(err, &v) {
			t.Errorf("%s, before it was seeded: %v", damage, err)
		}
		other.Seeded = true
		for _, check := range []*Standby{s, other} {
			if _, err := check.Check(t.Context()); !violates(err, want) {
				t.Errorf("%s: %v", damage, err)
			}
		}
	}
}

// TestSnapshotBehindLock: what commits between the locks and the first query is seen, so no TRUNCATE comes between.
func TestSnapshotBehindLock(t *testing.T) {
	s, conn := newStandby(t)
	other, err := pgx.Connect(t.Context(), s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(context.Background())
	tx, err := other.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.lock(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	statements(t, conn, applyFirst)
	if at, err := readProgress(t.Context(), tx); err != nil || at.lsn != 0x100 {
		t.Errorf("behind the lock: %+v, %v", at, err)
	}
}

// TestTruncateUnderWay: a check waits for a TRUNCATE that is not committed, without a lock that could be in its way.
func TestTruncateUnderWay(t *testing.T) {
	s, conn := newStandby(t)
	statements(t, conn, applyFirst, "begin", `truncate s.keyed`)
	type outcome struct {
		at  position.LSN
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		at, err := s.Check(t.Context())
		done <- outcome{at, err}
	}()
	time.Sleep(100 * time.Millisecond) // long enough for some attempts; a shorter one proves less
	statements(t, conn, `lock table s."Fu.ll"`, "insert into s.keyed values (3, 'y')", "update tidemark.progress set end_lsn = '0/200'", "commit")
	if got := <-done; got.err != nil || got.at != 0x200 {
		t.Errorf("the check ends with %s, %v", got.at, got.err)
	}
}
