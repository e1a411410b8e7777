package check

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tidemark/internal/position"
)

// listing is what `archive ls --json` says.
type listing struct {
	Bases    []listedBase
	Ranges   []listedRange
	Holes    []string
	BadBases []struct{ Key, Reason string } `json:"bad_bases"`
}

type listedBase struct {
	LSN  position.LSN
	Time time.Time
}

type listedRange struct {
	After, Last position.LSN
	To          time.Time
}

// top is the last LSN that a restore can reach.
func (l listing) top() position.LSN {
	var top position.LSN
	for _, b := range l.Bases {
		top = max(top, b.LSN)
	}
	for _, g := range l.Ranges {
		top = max(top, g.Last)
	}
	return top
}

// latest is the last moment that a restore can reach.
func (l listing) latest() time.Time {
	var latest time.Time
	for _, b := range l.Bases {
		latest = later(latest, b.Time)
	}
	for _, g := range l.Ranges {
		latest = later(latest, g.To)
	}
	return latest
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// list asks what the archive holds. A hole or a bad base is a Violation, and so is no base where one was.
func (r *Restore) list(ctx context.Context) (l listing, err error) {
	err = r.twice(func() error {
		l = listing{}
		code, stdout, stderr, err := r.run(ctx, "archive", "ls", "--archive", r.ArchiveURL, "--json")
		if err != nil {
			return fmt.Errorf("list the archive: %w", err)
		}
		wrong := json.Unmarshal([]byte(stdout), &l)
		switch {
		case wrong == nil && len(l.Holes) > 0:
			return Violated(restoreCheck, l.top(), "the archive has %d holes: %s", len(l.Holes), l.Holes[0])
		case wrong == nil && len(l.BadBases) > 0:
			return Violated(restoreCheck, l.top(), "base %s cannot be used: %s", l.BadBases[0].Key, l.BadBases[0].Reason)
		case code != 0:
			return errFailed{fmt.Sprintf("archive ls: exit code %d: %s", code, lastLine(stderr))}
		case wrong != nil:
			return errFailed{fmt.Sprintf("archive ls: %v", wrong)}
		case len(l.Bases) == 0 && (r.MustHaveBase || r.seen):
			return Violated(restoreCheck, l.top(), "the archive lost its bases: archive ls lists none")
		case len(l.Bases) == 0:
			return ErrNoBase
		}
		r.seen = true
		return nil
	})
	if failed := (errFailed{}); errors.As(err, &failed) {
		err = Violated(restoreCheck, 0, "%s", failed.reason)
	}
	slices.SortFunc(l.Bases, func(a, b listedBase) int { return cmp.Compare(a.LSN, b.LSN) })
	return l, err
}

// wrongListing compares the listing with what is known.
func (r *Restore) wrongListing(l listing, covered position.LSN) string {
	var wrong []string
	if len(l.Ranges) > 1 {
		wrong = append(wrong, fmt.Sprintf("%d ranges without a hole between", len(l.Ranges)))
	}
	if l.top() < covered {
		wrong = append(wrong, fmt.Sprintf("it ends at %s, status said %s", l.top(), covered))
	}
	for _, g := range l.Ranges {
		if r.holdsLater(g.To, g.Last) {
			wrong = append(wrong, fmt.Sprintf("range up to %s ends at %s, but a transaction in it committed later", g.Last, micro(g.To)))
		}
		if r.holdsLater(time.Time{}, g.Last) && !g.To.IsZero() && !r.holdsLater(g.To.Add(-time.Microsecond), g.Last) {
			wrong = append(wrong, fmt.Sprintf("range up to %s ends at %s, but no transaction in it committed then", g.Last, micro(g.To)))
		}
	}
	return strings.Join(wrong, "; ")
}

// holdsLater reports whether a published transaction that ends at or below lsn committed later than t.
func (r *Restore) holdsLater(t time.Time, lsn position.LSN) bool {
	return r.Timeline.Prefix(t) < r.lastEnd(lsn)
}

// lastEnd is the end of the last transaction at or below lsn; zero when there is none. It looks at few of them.
func (r *Restore) lastEnd(lsn position.LSN) position.LSN {
	for step := position.LSN(1 << 12); ; step <<= 2 {
		from := lsn - min(step, lsn)
		if list := r.Timeline.Transactions(from, lsn); len(list) > 0 {
			return list[len(list)-1].End
		}
		if from == 0 {
			return 0
		}
	}
}

func micro(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }
