package restore

import (
	"context"
	"slices"

	"tidemark/internal/archive"
	"tidemark/internal/segment"
)

// choosePlan makes a plan whose base holds nothing that committed later than the target. Make sees that of whole objects; a base
// may also lie within one, and then the object itself has to be looked at.
func choosePlan(ctx context.Context, store *archive.Store, bases []archive.Manifest, objects []archive.Object, target Target) (Plan, error) {
	var refused error
	for {
		plan, err := Make(bases, objects, target)
		if err != nil && refused != nil {
			return Plan{}, refused
		}
		if err != nil {
			return Plan{}, err
		}
		later, err := straddles(ctx, store, plan)
		if err != nil || !later {
			return plan, err
		}
		at := plan.Base.LSN
		refused = unreachable(target, "the base at %s holds a transaction that committed later: the source's clock was set back; restore to an LSN", at)
		bases = slices.DeleteFunc(slices.Clone(bases), func(m archive.Manifest) bool { return m.LSN == at })
	}
}

// straddles reports whether the object within which the base lies has, at or below the base, what the target leaves out.
func straddles(ctx context.Context, store *archive.Store, plan Plan) (bool, error) {
	if plan.Target.Time == 0 || len(plan.Objects) == 0 {
		return false, nil
	}
	o := plan.Objects[0]
	if o.After >= plan.Base.LSN || !o.MaxTime.After(plan.Target.Time.Time()) {
		return false, nil
	}
	body, err := again(ctx, func() (*archive.Body, error) { return store.Fetch(ctx, o) })
	if err != nil {
		return false, err
	}
	for f, err := range body.Frames(store.Identity()) {
		if err != nil {
			return false, err
		}
		if f.Kind == segment.Part && f.End <= plan.Base.LSN && plan.Target.ends(&f) {
			return true, nil
		}
	}
	return false, nil
}
