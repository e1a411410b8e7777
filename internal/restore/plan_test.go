package restore

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tidemark/internal/archive"
	"tidemark/internal/position"
	"tidemark/internal/segment"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var zero = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// at is a moment some seconds after zero.
func at(seconds float64) time.Time { return zero.Add(time.Duration(seconds * float64(time.Second))) }

func target(seconds float64) Target { return Target{Time: position.TimeOf(at(seconds))} }

func base(lsn position.LSN, seconds float64) archive.Manifest {
	return archive.Manifest{LSN: lsn, Time: at(seconds)}
}

// object holds transactions behind after up to last, committed between two moments.
func object(n uint64, after, last position.LSN, from, to float64) archive.Object {
	o := archive.Object{
		Sequence: n, Key: archive.JournalKey(n), After: after, Last: last, Transactions: 2, MinTime: at(from), MaxTime: at(to),
		Digest: string(rune('a' + n)),
	}
	if n > 1 {
		o.Previous = string(rune('a' + n - 1))
	}
	return o
}

func numbers(objects []archive.Object) (out []uint64) {
	for _, o := range objects {
		out = append(out, o.Sequence)
	}
	return out
}

func TestMake(t *testing.T) {
	bases := []archive.Manifest{base(0x250, 25), base(0x50, 5)} // in no order
	objects := []archive.Object{
		object(1, 0x10, 0x100, 1, 10), object(2, 0x100, 0x200, 11, 20), object(3, 0x200, 0x300, 21, 30), object(4, 0x300, 0x400, 31, 40),
	}
	hole := slices.Delete(slices.Clone(objects), 1, 2)
	late := slices.Delete(slices.Clone(objects), 3, 4)
	late = append(late, object(5, 0x400, 0x500, 41, 50))
	damaged := slices.Clone(objects)
	damaged[1] = archive.Object{Sequence: 2, Key: archive.JournalKey(2), Damage: "bytes are wrong"}
	other := slices.Clone(objects)
	other[2].Previous = "other"
	gap := slices.Clone(objects)
	gap[2].After = 0x210
	frontier := append(slices.Clone(objects), archive.Object{
		Sequence: 5, Key: archive.JournalKey(5), After: 0x400, Last: 0x500, Transactions: 3, Digest: "f", Previous: objects[3].Digest,
	})

	for _, test := range []struct {
		name    string
		bases   []archive.Manifest
		objects []archive.Object
		target  Target
		base    position.LSN
		want    []uint64
		err     string
	}{
		{"latest", bases, objects, Target{Latest: true}, 0x250, []uint64{3, 4}, ""},
		{"lsn within an object", bases, objects, Target{LSN: 0x180}, 0x50, []uint64{1, 2}, ""},
		{"lsn at an object's end", bases, objects, Target{LSN: 0x200}, 0x50, []uint64{1, 2}, ""},
		{"lsn at the base", bases, objects, Target{LSN: 0x250}, 0x250, []uint64{3}, ""},
		{"lsn just before the base", bases, objects, Target{LSN: 0x24f}, 0x50, []uint64{1, 2, 3}, ""},
		{"lsn at the end", bases, objects, Target{LSN: 0x400}, 0x250, []uint64{3, 4}, ""},
		{"lsn behind the end", bases, objects, Target{LSN: 0x401}, 0, nil, "behind the last transaction"},
		{"lsn before the first base", bases, objects, Target{LSN: 0x4f}, 0, nil, "before the first base"},
		{"time within", bases, objects, target(15), 0x50, []uint64{1, 2}, ""},
		{"time at a commit goes on to the next object", bases, objects, target(20), 0x50, []uint64{1, 2, 3}, ""},
		{"time at the base", bases, objects, target(25), 0x250, []uint64{3}, ""},
		{"time between objects", bases, objects, target(30.5), 0x250, []uint64{3, 4}, ""},
		{"time of the last commit", bases, objects, target(40), 0x250, []uint64{3, 4}, ""},
		{"time behind the last commit", bases, objects, target(40.000001), 0, nil, "later than the last commit, at 2026-03-01T12:00:40.000000Z"},
		{"time before the first base", bases, objects, target(4), 0, nil, "the archive covers 2026-03-01T12:00:05.000000Z (LSN 0/50) to 2026-03-01T12:00:40.000000Z (LSN 0/400)"},
		{"frontiers move the end", bases, frontier, Target{LSN: 0x4f0}, 0x250, []uint64{3, 4, 5}, ""},
		{"frontiers are no commits", bases, frontier, target(41), 0, nil, "later than the last commit"},
		{"only a base", bases[:1], nil, Target{Latest: true}, 0x250, nil, ""},
		{"only a base, its time", bases[:1], nil, target(25), 0x250, nil, ""},
		{"only a base, behind it", bases[:1], nil, target(26), 0, nil, "later than the last commit"},
		{"base ahead of the journal", []archive.Manifest{base(0x900, 90)}, objects, Target{Latest: true}, 0x900, nil, ""},
		{"no base", nil, objects, Target{Latest: true}, 0, nil, "no base"},
		{"hole before the newest base", bases, hole, Target{Latest: true}, 0x250, []uint64{3, 4}, ""},
		{"hole in the way", bases, hole, Target{LSN: 0x180}, 0, nil, archive.JournalKey(2) + " is missing"},
		{"hole behind the target", bases, hole, Target{LSN: 0x100}, 0x50, []uint64{1}, ""},
		{"time of the last commit before a hole", bases, hole, target(10), 0, nil, archive.JournalKey(2) + " is missing"},
		{"time before the last commit before a hole", bases, hole, target(9), 0x50, []uint64{1}, ""},
		{"latest behind a hole", bases, late, Target{Latest: true}, 0, nil, archive.JournalKey(4) + " is missing"},
		{"damaged in the way", bases, damaged, Target{LSN: 0x180}, 0, nil, "bytes are wrong"},
		{"damaged before the base", bases, damaged, Target{LSN: 0x390}, 0x250, []uint64{3, 4}, ""},
		{"broken chain", bases[1:], other, Target{LSN: 0x280}, 0, nil, "digest of the object before"},
		{"changes missing between objects", bases[1:], gap, Target{LSN: 0x280}, 0, nil, "begins after 0/210"},
		{"archive begins behind the base", []archive.Manifest{base(0x5, 0)}, objects, Target{LSN: 0x80}, 0, nil, "are missing"},
		{"no target", bases, objects, Target{}, 0, nil, "exactly one"},
		{"two targets", bases, objects, Target{LSN: 1, Latest: true}, 0, nil, "exactly one"},
	} {
		t.Run(test.name, func(t *testing.T) {
			plan, err := Make(test.bases, test.objects, test.target)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("plan %v, error %v, want %q", numbers(plan.Objects), err, test.err)
				}
				if test.target.Validate() == nil && !errors.Is(err, ErrUnreachable) {
					t.Errorf("error %v is not ErrUnreachable", err)
				}
				return
			}
			if err != nil || plan.Base.LSN != test.base || !slices.Equal(numbers(plan.Objects), test.want) {
				t.Errorf("base %s, objects %v, error %v; want %s, %v", plan.Base.LSN, numbers(plan.Objects), err, test.base, test.want)
			}
		})
	}
}

// TestClockSetBack: object 2 was committed while the clock was an hour ahead.
func TestClockSetBack(t *testing.T) {
	objects := []archive.Object{
		object(1, 0x10, 0x100, 1, 10), object(2, 0x100, 0x200, 3611, 3620), object(3, 0x200, 0x300, 21, 30), object(4, 0x300, 0x400, 31, 40),
	}
	bases := []archive.Manifest{base(0x50, 5), base(0x250, 25)}
	plan, err := Make(bases, objects, target(28))
	if err != nil || plan.Base.LSN != 0x50 || !slices.Equal(numbers(plan.Objects), []uint64{1, 2}) || !plan.Inverted {
		t.Errorf("base %s, objects %v, inverted %v, error %v: want the old base, since the new one holds later commits",
			plan.Base.LSN, numbers(plan.Objects), plan.Inverted, err)
	}
	if plan, err = Make(bases, objects, Target{LSN: 0x280}); err != nil || plan.Base.LSN != 0x250 || plan.Inverted {
		t.Errorf("by LSN: base %s, inverted %v, %v", plan.Base.LSN, plan.Inverted, err)
	}
}

// TestEnds walks transactions in commit order and looks where a restore stops.
func TestEnds(t *testing.T) {
	type tx struct {
		end     position.LSN
		seconds float64
	}
	history := []tx{{10, 1}, {20, 2}, {30, 2}, {40, 2}, {50, 3}, {60, 2.5}, {70, 4}, {80, 4}}
	for _, test := range []struct {
		name   string
		target Target
		want   position.LSN // the last transaction that is in
	}{
		{"before all", target(0.5), 0}, {"ties go together", target(2), 40}, {"just before ties", target(1.999999), 10},
		{"an inversion is left out", target(2.7), 40}, {"behind the inversion", target(3), 60}, {"last ties", target(4), 80},
		{"by lsn", Target{LSN: 60}, 60}, {"between lsns", Target{LSN: 59}, 50}, {"latest", Target{Latest: true}, 80},
	} {
		t.Run(test.name, func(t *testing.T) {
			var last position.LSN
			for _, x := range history {
				f := segment.Frame{Kind: segment.Part, First: true, Last: true, Xid: 7, Count: 1, End: x.end, Time: position.TimeOf(at(x.seconds))}
				if test.target.ends(&f) {
					break
				}
				last = x.end
			}
			if last != test.want {
				t.Errorf("stops behind %d, want %d", last, test.want)
			}
		})
	}
	f := segment.Frontier(90, position.TimeOf(at(99)))
	if stop := target(4); stop.ends(&f) {
		t.Error("a frontier's time ended a restore")
	}
}
