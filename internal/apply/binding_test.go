package apply_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"tidemark/internal/apply"
	"tidemark/internal/postgres/pgtest"
)

// TestRemade has tables that were dropped and made again, or renamed, on the source alone: with the same columns, their
// rows would land among those of the tables before. Once the target has the same change, applying goes on.
func TestRemade(t *testing.T) {
	for name, ddl := range map[string]string{
		"dropped": "drop table a; create table a(id int primary key, v text)",
		"renamed": "alter table a rename to old; alter index a_pkey rename to old_pkey; create table a(id int primary key, v text)",
		"swapped": "alter table a rename to old; alter table b rename to a; alter table old rename to b",
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 0, "create table a(id int primary key, v text)", "create table b(id int primary key, v text)")
			bindings := &apply.Bindings{}
			r.openWith(t, bindings)
			r.run(t, "insert into a values (1, 'x')", "insert into b values (2, 'y')")
			pgtest.Exec(t, r.source.URL, ddl, "insert into a values (3, 'z')")
			frames := r.source.Frames(t)
			for range 2 { // also after the first refusal
				err := r.apply(t, frames)
				if mismatch := new(apply.MismatchError); !errors.As(err, &mismatch) || mismatch.Table != "public.a" {
					t.Fatalf("apply: %v, want a MismatchError for public.a", err)
				}
				r.openWith(t, bindings)
			}
			pgtest.Exec(t, r.target, ddl)
			if err := r.apply(t, frames); err != nil {
				t.Fatal(err)
			}
			r.run(t)
		})
	}
}

// openWith opens another applier that goes on with bindings.
func (r *rig) openWith(t *testing.T, bindings *apply.Bindings) {
	t.Helper()
	_ = r.applier.Close(t.Context())
	a, err := apply.Open(t.Context(), apply.Config{URL: r.target, Stream: stream, Bindings: bindings}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close(context.Background()) })
	if _, _, err := a.Position(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.applier = a
}
