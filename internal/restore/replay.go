package restore

import (
	"context"
	"fmt"

	"tidemark/internal/apply"
	"tidemark/internal/archive"
	"tidemark/internal/change"
	"tidemark/internal/pgoutput"
	"tidemark/internal/planted"
	"tidemark/internal/position"
	"tidemark/internal/segment"
)

// commitRows is how many changes are applied before the target commits, at the next end of a transaction.
const commitRows = 20000

// replayer walks frames and applies the transactions between base and target.
type replayer struct {
	run     *restore
	decoder *pgoutput.Decoder // one for all objects: a relation that stays the same keeps its value
	seen    map[*change.Relation]int
	latest  position.Time // largest commit time so far
	open    bool          // a transaction was begun
	reached bool          // the target lies before what comes
}

// ownTable marks a relation of Tidemark's own in seen.
const ownTable = -1

func (r *restore) replay(ctx context.Context) error {
	p := &replayer{run: r, decoder: pgoutput.NewDecoder(), seen: map[*change.Relation]int{}}
	ahead := fetch(ctx, r.store, r.plan.Objects)
	defer ahead.close()
	var done, total int64
	for _, o := range r.plan.Objects {
		total += o.Size
	}
	for _, o := range r.plan.Objects {
		body, err := ahead.next(ctx)
		if err != nil {
			return err
		}
		if err := p.object(ctx, body); err != nil {
			return err
		}
		ahead.release(o)
		if done += o.Size; r.opts.Progress != nil {
			r.opts.Progress("changes", done, total)
		}
	}
	_, err := r.applier.Flush(ctx)
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	return r.checkReached()
}

func (p *replayer) object(ctx context.Context, body *archive.Body) error {
	for f, err := range body.Frames(p.run.store.Identity()) {
		if err != nil {
			return err
		}
		if err := p.frame(ctx, &f); err != nil {
			return fmt.Errorf("replay transaction that ends at %s: %w", f.End, err)
		}
	}
	return nil
}

func (p *replayer) frame(ctx context.Context, f *segment.Frame) error {
	if f.Kind == segment.Definition {
		return p.decoder.Define(f.Payload)
	}
	if f.Kind != segment.Part || f.End <= p.run.plan.Base.LSN {
		return nil
	}
	if planted.Is(planted.RestoreByTime) {
		p.reached = false
	}
	if p.reached = p.reached || p.run.plan.Target.ends(f); p.reached {
		// The rest of the object is only looked at: does an earlier time follow?
		t := p.run.plan.Target.Time
		p.run.report.LeftOut = p.run.report.LeftOut || t != 0 && f.Time <= t && !f.IsFrontier()
		return nil
	}
	if !p.open {
		if err := p.begin(ctx, f); err != nil {
			return err
		}
	}
	for row, err := range p.decoder.Rows(f) {
		if err != nil {
			return err
		}
		if err := p.row(ctx, row); err != nil {
			return err
		}
	}
	if !f.Last {
		return nil
	}
	return p.end(ctx, f)
}

func (p *replayer) begin(ctx context.Context, f *segment.Frame) error {
	p.open = true
	return p.run.applier.Begin(ctx, apply.Transaction{Xid: f.Xid, Commit: f.Commit, Time: f.Time})
}

func (p *replayer) row(ctx context.Context, row change.Row) error {
	relations := row.Truncated
	if row.Op != change.Truncate {
		relations = []*change.Relation{row.Relation}
	}
	for _, rel := range relations {
		i, err := p.table(rel, row.Ordinal)
		if err != nil {
			return err
		}
		if i != ownTable {
			p.run.report.Tables[i].Changes++
			p.run.report.Changes++
		}
	}
	return p.run.applier.Row(ctx, row)
}

// table finds the table of the base that a relation is.
func (p *replayer) table(rel *change.Relation, ordinal uint32) (int, error) {
	if i, ok := p.seen[rel]; ok {
		return i, nil
	}
	i, ok := p.run.known[tableName(rel.Schema, rel.Name)]
	switch {
	case rel.Schema == change.Own:
		i = ownTable
	case !ok:
		return 0, fmt.Errorf("change %d is of table %s, which is not in the base: it was made or renamed after the base was taken, and schema changes "+
			"are not replayed; restore from a later base, or to an LSN before this transaction", ordinal, rel)
	case p.run.plan.Base.Tables[i].OID != 0 && p.run.plan.Base.Tables[i].OID != rel.ID:
		return 0, fmt.Errorf("change %d is of table %s, which is not the base's table of that name: on the source that was dropped and made again, or renamed, after "+
			"the base was taken, and schema changes are not replayed; restore from a later base, or to an LSN before this transaction", ordinal, rel)
	}
	p.seen[rel] = i
	return i, nil
}

func (p *replayer) end(ctx context.Context, f *segment.Frame) error {
	p.open = false
	r := &p.run.report
	r.LSN = f.End
	if !f.IsFrontier() {
		r.Time = f.Time.Time()
		r.Transactions++
		if f.Time < p.latest {
			r.Inversions++
		}
		p.latest = max(p.latest, f.Time)
	}
	if err := p.run.applier.End(ctx, f.End, f.Time); err != nil {
		return err
	}
	if p.run.applier.Pending() < commitRows {
		return nil
	}
	_, err := p.run.applier.Flush(ctx)
	return err
}

// checkReached makes sure that the walk ended where the plan says.
func (r *restore) checkReached() error {
	n := len(r.plan.Objects)
	if n == 0 {
		return nil
	}
	last := r.plan.Objects[n-1]
	whole := r.plan.Target.Latest || r.plan.Target.LSN >= last.Last && r.plan.Target.Time == 0
	if whole && r.report.LSN != max(last.Last, r.plan.Base.LSN) {
		return fmt.Errorf("replay: it ended at %s, want %s: %w", r.report.LSN, last.Last, archive.ErrCorrupt)
	}
	return nil
}
