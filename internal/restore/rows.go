package restore

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"tidemark/internal/archive"
	"tidemark/internal/postgres"
)

// piece is one part of a table's rows.
type piece struct {
	table archive.Table
	part  archive.Part
}

// rows loads the base. Nothing depends on the order of parts: keys and constraints come afterwards.
func (r *restore) rows(ctx context.Context) error {
	var pieces []piece
	var total int64
	for _, t := range r.plan.Base.Tables {
		for _, p := range t.Parts {
			pieces = append(pieces, piece{t, p})
			total += p.Size
		}
	}
	var mu sync.Mutex // guards done and the order of Progress calls
	var done int64
	step := func(n int64) {
		mu.Lock()
		defer mu.Unlock()
		done += n
		if r.opts.Progress != nil {
			r.opts.Progress("rows", done, total)
		}
	}
	step(0)
	queue := make(chan piece)
	group, loading := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(queue)
		for _, p := range pieces {
			select {
			case queue <- p:
			case <-loading.Done():
				return nil // the error that ended it is another one's
			}
		}
		return nil
	})
	for range min(r.opts.Jobs, max(len(pieces), 1)) {
		group.Go(func() error { return r.load(loading, queue, step) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err() // pieces may be left when the caller gave up
}

// load takes pieces until there are no more, over a connection of its own.
func (r *restore) load(ctx context.Context, queue <-chan piece, step func(int64)) error {
	conn, err := r.connect(ctx)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		closeSession(closing, conn)
	}()
	for p := range queue {
		raw, err := again(ctx, func() ([]byte, error) { return r.store.ReadPart(ctx, p.part) })
		if err != nil {
			return err
		}
		tag, err := conn.PgConn().CopyFrom(ctx, bytes.NewReader(raw), copyIn(p.table))
		if err != nil {
			return fmt.Errorf("load %s: %w", p.part.Key, postgres.Explain(err))
		}
		if tag.RowsAffected() != p.part.Rows {
			return fmt.Errorf("load %s: %d rows, want %d: %w", p.part.Key, tag.RowsAffected(), p.part.Rows, archive.ErrCorrupt)
		}
		step(p.part.Size)
	}
	return nil
}

// copyIn is the COPY statement; a table without columns takes no list.
func copyIn(t archive.Table) string {
	list := ""
	if len(t.Columns) > 0 {
		quoted := make([]string, len(t.Columns))
		for i, c := range t.Columns {
			quoted[i] = postgres.Ident(c)
		}
		list = " (" + strings.Join(quoted, ", ") + ")"
	}
	return "copy " + postgres.Ident(t.Schema, t.Name) + list + " from stdin"
}
