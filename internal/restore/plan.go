package restore

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"tidemark/internal/archive"
	"tidemark/internal/planted"
	"tidemark/internal/position"
)

// Plan is how a target is reached.
type Plan struct {
	Target Target
	// Base is where the restore begins.
	Base archive.Manifest
	// Objects are replayed behind it, in order. The target may lie within the last one.
	Objects []archive.Object
	// Inverted says that objects behind the target hold transactions that committed at or before its time: the source's clock was
	// ahead and was set back. They are not restored.
	Inverted bool
	// Damaged are manifests of bases that cannot be used; a newer base than Base may be among them.
	Damaged []archive.Problem
}

// Bytes is the size of everything that the plan reads, as stored.
func (p Plan) Bytes() int64 {
	var n int64
	for _, part := range p.Base.AllParts() {
		n += part.Size
	}
	for _, o := range p.Objects {
		n += o.Size
	}
	return n
}

// Make chooses the newest base that is not behind the target and the objects between. bases and objects are as an
// archive.Store lists them. An error is ErrUnreachable and says why, and what the archive covers.
func Make(bases []archive.Manifest, objects []archive.Object, target Target) (Plan, error) {
	if err := target.Validate(); err != nil {
		return Plan{}, err
	}
	bases = slices.Clone(bases)
	slices.SortFunc(bases, func(a, b archive.Manifest) int { return cmp.Compare(a.LSN, b.LSN) })
	if len(bases) == 0 {
		return Plan{}, unreachable(target, "the archive holds no base; run 'tidemark snapshot archive' for the next time")
	}
	base, err := choose(bases, objects, target)
	if err != nil {
		return Plan{}, err
	}
	run, broken := chain(base, objects)
	plan := Plan{Target: target, Base: base}
	end := cut(run, target)
	plan.Objects = run[:end]
	if reason := beyond(base, run, broken, target); reason != "" {
		return Plan{}, unreachable(target, "%s; %s", reason, covered(bases, objects))
	}
	for _, o := range run[end:] {
		plan.Inverted = plan.Inverted || target.Time != 0 && !o.MinTime.IsZero() && !o.MinTime.After(target.Time.Time())
	}
	return plan, nil
}

// choose returns the newest base that holds nothing behind the target.
func choose(bases []archive.Manifest, objects []archive.Object, target Target) (archive.Manifest, error) {
	for _, m := range slices.Backward(bases) {
		if target.Latest || target.LSN != 0 && m.LSN <= target.LSN {
			return m, nil
		}
		if target.Time != 0 && !m.Time.After(target.Time.Time()) && !holdsLater(m, objects, target.Time.Time()) {
			return m, nil
		}
	}
	return archive.Manifest{}, unreachable(target, "it is before the first base; %s", covered(bases, objects))
}

// holdsLater reports whether the base holds a transaction that committed later than t although the base was taken before:
// the source's clock was set back between.
func holdsLater(m archive.Manifest, objects []archive.Object, t time.Time) bool {
	return slices.ContainsFunc(objects, func(o archive.Object) bool { return o.Damage == "" && o.Last <= m.LSN && o.MaxTime.After(t) })
}

// chain returns the objects behind a base up to the first break, and what is broken there. Of a damaged object nothing is
// known but its number.
func chain(base archive.Manifest, objects []archive.Object) (run []archive.Object, broken string) {
	if len(objects) == 0 {
		return nil, ""
	}
	start := -1 // the last object that begins at or before the base
	for i, o := range objects {
		if o.Damage == "" && o.After <= base.LSN {
			start = i
		}
	}
	if start < 0 {
		if o := objects[0]; o.Damage != "" {
			return nil, fmt.Sprintf("%s is damaged: %s", o.Key, o.Damage)
		}
		return nil, fmt.Sprintf("changes between the base at %s and %s, which begins after %s, are missing", base.LSN, objects[0].Key, objects[0].After)
	}
	end := start + 1
	for ; end < len(objects); end++ {
		if broken = objects[end].Follows(objects[end-1]); broken != "" {
			break
		}
	}
	if objects[start].Last <= base.LSN {
		start++
	}
	return objects[start:end], broken
}

// cut returns how many objects of the run are needed: up to and including the one within which the target lies.
func cut(run []archive.Object, target Target) int {
	i := -1
	switch {
	case target.LSN != 0:
		i = slices.IndexFunc(run, func(o archive.Object) bool { return o.Last >= target.LSN })
	case target.Time != 0:
		i = slices.IndexFunc(run, func(o archive.Object) bool { return o.MaxTime.After(target.Time.Time()) })
	}
	if i < 0 || planted.Is(planted.RestoreByTime) && target.Time != 0 {
		return len(run)
	}
	if target.LSN != 0 && run[i].After >= target.LSN {
		return i
	}
	return i + 1
}

// beyond says why the run does not reach the target, or nothing.
func beyond(base archive.Manifest, run []archive.Object, broken string, target Target) string {
	last, latest := base.LSN, base.Time
	for _, o := range run {
		last = max(last, o.Last)
		if o.MaxTime.After(latest) {
			latest = o.MaxTime
		}
	}
	at := target.Time.Time()
	// At a break, a time is reached only where a later one is known: what is missing may have committed at the same time.
	short := target.LSN > last || target.Latest && broken != "" || target.Time != 0 && (at.After(latest) || broken != "" && !at.Before(latest))
	switch {
	case !short:
		return ""
	case broken != "":
		return fmt.Sprintf("%s; what is before it can be restored, up to LSN %s", broken, last)
	case target.LSN != 0:
		return "it is behind the last transaction"
	}
	return fmt.Sprintf("it is later than the last commit, at %s", position.TimeOf(latest))
}

// covered says what the archive leads to.
func covered(bases []archive.Manifest, objects []archive.Object) string {
	first, newest := bases[0], bases[len(bases)-1]
	last, latest := newest.LSN, newest.Time
	run, _ := chain(newest, objects)
	for _, o := range run {
		last = o.Last
		if o.MaxTime.After(latest) {
			latest = o.MaxTime
		}
	}
	return fmt.Sprintf("the archive covers %s (LSN %s) to %s (LSN %s)",
		position.TimeOf(first.Time), first.LSN, position.TimeOf(latest), last)
}
