package check

import (
	"time"

	"tidemark/internal/position"

	"tidemark/integration/checker/fold"
)

// target is a moment to restore to: an LSN, a time, or the end of the archive when both are zero.
type target struct {
	kind string
	lsn  position.LSN
	time time.Time
	zone *time.Location // in which the time is written
}

func (t target) String() string {
	switch {
	case t.lsn != 0:
		return t.lsn.String() + " (" + t.kind + ")"
	case !t.time.IsZero():
		return t.time.UTC().Format(time.RFC3339Nano) + " (" + t.kind + ")"
	}
	return t.kind
}

func (t target) args() []string {
	switch {
	case t.lsn != 0:
		return []string{"--to-lsn", t.lsn.String()}
	case !t.time.IsZero():
		return []string{"--to", t.time.In(t.zone).Format(time.RFC3339Nano)}
	}
	return []string{"--latest"}
}

// moment is the time as PostgreSQL's clock could show it.
func (t target) moment() time.Time { return t.time.Truncate(time.Microsecond) }

// The moments that a Restore chooses from.
const (
	kindEnd       = "an end LSN"
	kindBetween   = "an LSN between two ends"
	kindTime      = "a commit time"
	kindNearTime  = "close to a commit time"
	kindInversion = "an inversion of commit times"
	kindTie       = "a tie of commit times"
	kindBase      = "at a base"
	kindNewest    = "the newest covered"
	kindLatest    = "the end of the archive"
	kindBelow     = "before the first base"
	kindBeyond    = "behind the archive"
)

// weights say how often each is chosen. Where there is no tie or inversion it is a commit time.
var weights = []struct {
	kind   string
	weight int
}{
	{kindEnd, 12}, {kindBetween, 8}, {kindTime, 12}, {kindNearTime, 14}, {kindInversion, 14}, {kindTie, 8}, {kindBase, 8},
	{kindNewest, 8}, {kindLatest, 8}, {kindBelow, 4}, {kindBeyond, 4},
}

func (r *Restore) pick(l listing, covered position.LSN) target {
	total := 0
	for _, w := range weights {
		total += w.weight
	}
	n := r.Rand.IntN(total)
	for _, w := range weights {
		if n -= w.weight; n < 0 {
			return r.target(w.kind, l, covered)
		}
	}
	return target{kind: kindLatest}
}

// target makes a target of a kind. covered may be below the first base: then there is nothing between to choose.
func (r *Restore) target(kind string, l listing, covered position.LSN) target {
	zone := time.FixedZone("", 900*(r.Rand.IntN(105)-48)) // −12:00 to +14:00
	atLSN := func(lsn position.LSN) target { return target{kind: kind, lsn: max(lsn, 1)} }
	atTime := func(t time.Time) target { return target{kind: kind, time: t, zone: zone} }
	first := l.Bases[0]
	switch kind {
	case kindBelow:
		if r.Rand.IntN(2) == 0 {
			return atLSN(first.LSN - 1 - position.LSN(r.Rand.IntN(2)*r.Rand.IntN(1<<16)))
		}
		return atTime(first.Time.Add(-time.Microsecond - time.Duration(r.Rand.IntN(2)*r.Rand.IntN(3600))*time.Second))
	case kindBeyond:
		if r.Rand.IntN(2) == 0 {
			return atLSN(l.top() + 1<<36)
		}
		return atTime(l.latest().Add(time.Hour))
	case kindBase:
		b := l.Bases[r.Rand.IntN(len(l.Bases))]
		if r.Rand.IntN(3) > 0 {
			return atLSN(b.LSN + position.LSN(r.Rand.IntN(3)) - 1)
		}
		return atTime(b.Time.Add(time.Duration(r.Rand.IntN(3)-1) * time.Microsecond))
	case kindLatest:
		return target{kind: kind}
	case kindNewest:
		newest, ok := r.Timeline.Find(r.lastEnd(covered))
		if !ok || r.Rand.IntN(2) == 0 {
			return atLSN(covered)
		}
		return atTime(newest.Commit.Add(time.Duration(r.Rand.IntN(3)-1) * time.Microsecond))
	}
	return r.among(kind, r.window(first.LSN, covered, kind), zone)
}

// window returns some consecutive transactions, from a place chosen by LSN.
func (r *Restore) window(from, to position.LSN, kind string) []fold.Entry {
	if to <= from {
		return nil
	}
	enough := 2
	if kind == kindInversion || kind == kindTie {
		enough = 2000
	}
	middle := from + position.LSN(r.Rand.Uint64N(uint64(to-from)))
	for step := position.LSN(1 << 10); ; step <<= 1 {
		a, b := max(from, middle-min(step, middle)), min(to, middle+step)
		list := r.Timeline.Transactions(a, b)
		if len(list) >= enough || a == from && b == to {
			return list
		}
	}
}

// among makes a target at some transaction of a list.
func (r *Restore) among(kind string, list []fold.Entry, zone *time.Location) target {
	if len(list) == 0 {
		return target{kind: kindLatest}
	}
	i := r.Rand.IntN(len(list))
	at := list[i].Commit
	switch kind {
	case kindEnd:
		return target{kind: kind, lsn: list[i].End}
	case kindBetween:
		i = max(i, min(1, len(list)-1))
		a, b := list[max(i-1, 0)].End, list[i].End
		return target{kind: kind, lsn: []position.LSN{a + (b-a)/2, a + 1, b - 1, b + 1}[r.Rand.IntN(4)]}
	case kindNearTime:
		at = at.Add([]time.Duration{-time.Microsecond, time.Microsecond, 500 * time.Nanosecond, -500 * time.Nanosecond}[r.Rand.IntN(4)])
	case kindInversion:
		times := inversions(list)
		if len(times) == 0 {
			kind = kindTime
			break
		}
		t := times[r.Rand.IntN(len(times))]
		at = t.early.Add(time.Duration(r.Rand.Int64N(int64(t.late.Sub(t.early)) + 1)).Truncate(time.Microsecond))
		if r.Rand.IntN(2) == 0 {
			at = t.early
		}
	case kindTie:
		times := ties(list)
		if len(times) == 0 {
			kind = kindTime
			break
		}
		at = times[r.Rand.IntN(len(times))].Add(time.Duration([]int{0, 0, 0, 1, -1}[r.Rand.IntN(5)]) * time.Microsecond)
	}
	return target{kind: kind, time: at, zone: zone}
}

// inversion is a transaction that committed early behind one that committed late.
type inversion struct{ early, late time.Time }

func inversions(list []fold.Entry) (out []inversion) {
	var latest time.Time
	for _, e := range list {
		if !e.Published {
			continue
		}
		if e.Commit.Before(latest) {
			out = append(out, inversion{early: e.Commit, late: latest})
		}
		latest = later(latest, e.Commit)
	}
	return out
}

func ties(list []fold.Entry) (out []time.Time) {
	var before time.Time
	for _, e := range list {
		if !e.Published {
			continue
		}
		if e.Commit.Equal(before) {
			out = append(out, e.Commit)
		}
		before = e.Commit
	}
	return out
}

// mustReach reports whether a refusal would be wrong.
func (r *Restore) mustReach(j job) bool {
	switch {
	case j.lsn != 0:
		return j.before.Bases[0].LSN <= j.lsn && j.lsn <= j.covered
	case j.time.IsZero():
		return true
	}
	t := j.moment()
	if !r.holdsLater(t.Add(-time.Microsecond), j.covered) {
		return false
	}
	for _, b := range j.before.Bases {
		if !b.Time.After(t) && !r.holdsLater(t, b.LSN) {
			return true
		}
	}
	return false
}

// mustRefuse reports whether a success is wrong, whatever it made. after is what the archive held afterwards.
func (r *Restore) mustRefuse(j job, after listing) bool {
	first := j.before.Bases[0].LSN
	switch {
	case j.lsn != 0:
		return j.lsn < first || j.lsn > after.top()
	case j.time.IsZero():
		return false
	}
	t := j.moment()
	return r.holdsLater(t, first) || t.After(after.latest())
}

// final reports whether nothing that the archive gets later changes what the target means.
func (r *Restore) final(j job) bool {
	if j.lsn != 0 {
		return j.lsn <= j.covered
	}
	return !j.time.IsZero() && r.holdsLater(j.moment(), j.covered)
}
