package apply_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/jackc/pgx/v5"

	"tidemark/internal/apply"
	"tidemark/internal/apply/applytest"
	"tidemark/internal/pgoutput"
	"tidemark/internal/position"
	"tidemark/internal/postgres/pgtest"
	"tidemark/internal/segment"
)

const stream = "7000000000000000001/app"

// rig is a source and a target on one cluster, with the same schema.
type rig struct {
	source  *applytest.Source
	target  string
	decoder *pgoutput.Decoder
	app     *pgx.Conn // an application on the source
	// left and right read source and target for comparison.
	left, right *pgx.Conn
	applier     *apply.Applier
}

// newRig makes both databases and runs ddl in each.
func newRig(t *testing.T, major int, ddl ...string) *rig {
	t.Helper()
	r := &rig{target: pgtest.Database(t, major), decoder: pgoutput.NewDecoder()}
	url := pgtest.Database(t, major)
	pgtest.Exec(t, url, ddl...)
	pgtest.Exec(t, r.target, ddl...)
	options := ""
	if major >= 18 { // where generated columns can be published, and must be under identity FULL
		options = "publish_generated_columns = stored"
	}
	r.source = applytest.NewSource(t, url, options)
	seed(t, r.target)
	r.app, r.left, r.right = pgtest.Connect(t, url), applytest.Connect(t, url), applytest.Connect(t, r.target)
	r.open(t)
	return r
}

func seed(t *testing.T, url string) {
	t.Helper()
	conn := pgtest.Connect(t, url)
	if err := apply.Migrate(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	if err := apply.SetProgress(t.Context(), conn, stream, 1, 0); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, url string) *apply.Applier {
	t.Helper()
	a, err := apply.Open(t.Context(), apply.Config{URL: url, Stream: stream}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close(context.Background()) })
	return a
}

// open opens an applier and reads its position.
func (r *rig) open(t *testing.T) position.LSN {
	t.Helper()
	r.applier = open(t, r.target)
	lsn, seeded, err := r.applier.Position(t.Context())
	if err != nil || !seeded {
		t.Fatalf("position: seeded %v, %v", seeded, err)
	}
	return lsn
}

// run executes statements on the source, each a transaction of its own, applies all, and compares.
func (r *rig) run(t *testing.T, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := r.app.Exec(t.Context(), s, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	if err := r.apply(t, r.source.Frames(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.applier.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	applytest.Compare(t, r.left, r.right)
}

// apply hands frames to the applier without committing.
func (r *rig) apply(t *testing.T, frames []segment.Frame) error {
	t.Helper()
	for i := range frames {
		if err := r.frame(t, &frames[i]); err != nil {
			return err
		}
	}
	return nil
}

func (r *rig) frame(t *testing.T, f *segment.Frame) error {
	t.Helper()
	if f.Kind == segment.Definition {
		return r.decoder.Define(f.Payload)
	}
	if f.First {
		if err := r.applier.Begin(t.Context(), apply.Transaction{Xid: f.Xid, Commit: f.Commit, Time: f.Time}); err != nil {
			return err
		}
	}
	for row, err := range r.decoder.Rows(f) {
		if err != nil {
			t.Fatal(err)
		}
		if err := r.applier.Row(t.Context(), row); err != nil {
			return err
		}
	}
	if f.Last {
		return r.applier.End(t.Context(), f.End, f.Time)
	}
	return nil
}
