package fold

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"tidemark/internal/position"
)

func v(s string) Value { return &s }

var (
	keyed  = Table{Schema: "s", Name: "keyed", Columns: []Column{{"a", "text"}, {"id", "integer"}}, Key: []int{1}}
	full   = Table{Schema: "s", Name: "full", Columns: []Column{{"a", "text"}, {"b", "text"}}, Identity: Full}
	plain  = Table{Schema: "s", Name: "plain", Identity: None}
	tables = []Table{keyed, full, plain}
)

func sumOf(rows ...[]Value) (s Sum) {
	for _, r := range rows {
		s.add(Hash(Canonical(r)))
	}
	return s
}

func TestFold(t *testing.T) {
	long := v("long")
	s := NewState(tables)
	steps := []struct {
		name    string
		changes []Change
		table   string
		want    Sum
	}{
		{"insert", []Change{{Op: Insert, Table: "s.keyed", New: []Value{long, v("1")}}, {Op: Insert, Table: "s.keyed", New: []Value{nil, v("2")}}},
			"s.keyed", sumOf([]Value{long, v("1")}, []Value{nil, v("2")})},
		{"update with an unchanged column and a new key", []Change{{Op: Update, Table: "s.keyed", Old: []Value{nil, v("1")}, OldSet: []bool{false, true}, New: []Value{nil, v("3")}, Unchanged: []bool{true, false}}},
			"s.keyed", sumOf([]Value{long, v("3")}, []Value{nil, v("2")})},
		{"update by the new row's key", []Change{{Op: Update, Table: "s.keyed", New: []Value{v("x"), v("2")}}},
			"s.keyed", sumOf([]Value{long, v("3")}, []Value{v("x"), v("2")})},
		{"delete", []Change{{Op: Delete, Table: "s.keyed", Old: []Value{nil, v("2")}, OldSet: []bool{false, true}}},
			"s.keyed", sumOf([]Value{long, v("3")})},
		{"twice the same row", []Change{{Op: Insert, Table: "s.full", New: []Value{v("x"), nil}}, {Op: Insert, Table: "s.full", New: []Value{v("x"), nil}}},
			"s.full", sumOf([]Value{v("x"), nil}, []Value{v("x"), nil})},
		{"one of two", []Change{{Op: Delete, Table: "s.full", Old: []Value{v("x"), nil}, OldSet: []bool{true, true}}},
			"s.full", sumOf([]Value{v("x"), nil})},
		{"no columns", []Change{{Op: Insert, Table: "s.plain", New: []Value{}}, {Op: Insert, Table: "s.plain", New: []Value{}}},
			"s.plain", sumOf([]Value{}, []Value{})},
		{"truncate", []Change{{Op: Truncate, Table: "s.plain"}}, "s.plain", Sum{}},
	}
	for i, step := range steps {
		touched, err := s.Apply(Transaction{End: position.LSN(i + 1), Changes: step.changes})
		if err != nil || !slices.Equal(touched, []string{step.table}) {
			t.Fatalf("%s: touched %v, %v", step.name, touched, err)
		}
		if got := s.Sum(step.table); got != step.want {
			t.Errorf("%s: %s is %+v, want %+v", step.name, step.table, got, step.want)
		}
		var rows Sum
		for _, hash := range s.Rows(step.table) {
			rows.add(hash)
		}
		if rows != step.want {
			t.Errorf("%s: rows give %+v, want %+v", step.name, rows, step.want)
		}
	}
}

func TestChangesThatDoNotFit(t *testing.T) {
	for name, c := range map[string]struct {
		change Change
		want   error
	}{
		"no table":            {Change{Table: "s.other"}, ErrNoTable},
		"exists":              {Change{Op: Insert, Table: "s.keyed", New: []Value{nil, v("1")}}, ErrExists},
		"no row":              {Change{Op: Update, Table: "s.keyed", New: []Value{nil, v("2")}}, ErrNoRow},
		"no key in old":       {Change{Op: Delete, Table: "s.keyed", Old: []Value{v("a"), nil}, OldSet: []bool{true, false}}, ErrShape},
		"too few columns":     {Change{Op: Insert, Table: "s.keyed", New: []Value{nil}}, ErrShape},
		"update without key":  {Change{Op: Update, Table: "s.full", New: []Value{nil, nil}}, ErrShape},
		"unchanged in insert": {Change{Op: Insert, Table: "s.full", New: []Value{nil, nil}, Unchanged: []bool{true, false}}, ErrShape},
		"delete by nothing":   {Change{Op: Delete, Table: "s.plain", Old: []Value{}}, ErrShape},
	} {
		s := NewState(tables)
		if _, err := s.Apply(Transaction{Changes: []Change{{Op: Insert, Table: "s.keyed", New: []Value{nil, v("1")}}}}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Apply(Transaction{Changes: []Change{c.change}}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestCanonicalTellsRowsApart(t *testing.T) {
	rows := [][]Value{{v("a"), nil}, {nil, v("a")}, {v("a-"), v("")}, {v(""), v("a-")}, {v("-"), v("")}, {nil, nil}, {v("1:a"), v("b")}, {v("1"), v("a2:b")}}
	seen := map[string]bool{}
	for _, r := range rows {
		if text := Canonical(r); seen[text] {
			t.Errorf("two rows read %q", text)
		} else {
			seen[text] = true
		}
	}
}

func TestTimeline(t *testing.T) {
	l := NewTimeline(tables)
	at := func(us int) time.Time { return time.UnixMicro(int64(us)).UTC() }
	for i, e := range []struct {
		end       position.LSN
		commit    int
		published bool
	}{{10, 100, true}, {20, 300, true}, {30, 200, true}, {40, 900, false}, {50, 400, true}, {60, 400, true}} {
		tx := Transaction{End: e.end, Commit: at(e.commit), Published: e.published, Changes: []Change{{Op: Insert, Table: "s.full"}}}
		if err := l.Add(tx, map[string]Sum{"s.full": {Rows: int64(i + 1)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Add(Transaction{End: 60}, nil); err == nil {
		t.Error("a transaction came twice")
	}
	for lsn, rows := range map[position.LSN]int64{0: 0, 9: 0, 10: 1, 35: 3, 60: 6, 99: 6} {
		if got := l.At(lsn)["s.full"].Rows; got != rows {
			t.Errorf("at %s there are %d rows, want %d", lsn, got, rows)
		}
	}
	// 200 committed behind 300; 900 changed nothing that is published, so nobody can know of it.
	for us, want := range map[int]position.LSN{99: 0, 100: 10, 200: 10, 299: 10, 300: 40, 399: 40, 400: 60, 999: 60} {
		if got := l.Prefix(at(us)); got != want {
			t.Errorf("prefix of %d ends at %s, want %s", us, got, want)
		}
	}
	if got := l.Transactions(10, 40); len(got) != 3 || got[0].End != 20 || got[2].End != 40 {
		t.Errorf("transactions are %v", got)
	}
	if _, ok := l.Find(30); !ok {
		t.Error("30 is not found")
	}
	if _, ok := l.Find(31); ok {
		t.Error("31 is found")
	}
}

func TestWait(t *testing.T) {
	l := NewTimeline(nil)
	done := make(chan error, 1)
	go func() { done <- l.Wait(t.Context(), 20) }()
	l.Cover(10)
	l.Cover(20)
	l.Cover(15)
	if err := <-done; err != nil || l.Covered() != 20 {
		t.Errorf("covered %s, %v", l.Covered(), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Wait(ctx, 21); !errors.Is(err, context.Canceled) {
		t.Errorf("wait ends with %v", err)
	}
}
