package nemesis

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// Fault is one thing that goes wrong. Begin and End may be called again and again, in turns.
type Fault struct {
	Name   string
	Target string
	// Weight is how often it is chosen beside the others, from 1.
	Weight int
	// Longest is how long it is held at most.
	Longest time.Duration
	Begin   func(context.Context) error
	End     func(context.Context) error
}

// Entry is a line of the fault log.
type Entry struct {
	Time  time.Time `json:"time"`
	Fault string    `json:"fault"`
	Phase string    `json:"phase"` // begin or end
	Error string    `json:"error,omitempty"`
}

const mostAtOnce = 3

// Nemesis runs faults. It is for one goroutine.
type Nemesis struct {
	faults []Fault
	random *rand.Rand
	note   func(Entry)
	counts map[string]int
	force  map[string]held // by target
}

type held struct {
	fault Fault
	until time.Time
}

// New gives note every fault's begin and end. Names must be unique.
func New(faults []Fault, seed uint64, note func(Entry)) *Nemesis {
	return &Nemesis{faults: faults, random: rand.New(rand.NewPCG(seed, 0xfa17)), note: note, counts: map[string]int{}, force: map[string]held{}}
}

// Counts returns how often each fault was begun.
func (n *Nemesis) Counts() map[string]int { return maps.Clone(n.counts) }

// Trouble breaks and mends things for a while. When it returns everything has been mended, or an error says what was not. When ctx ends
// nothing more is mended.
func (n *Nemesis) Trouble(ctx context.Context, length time.Duration) error {
	end := time.Now().Add(length)
	next := time.Now()
	for time.Now().Before(end) && ctx.Err() == nil {
		if err := n.mend(ctx, time.Now()); err != nil {
			return err
		}
		if !time.Now().Before(next) {
			if err := n.begin(ctx); err != nil {
				return err
			}
			next = time.Now().Add(n.between(100*time.Millisecond, 3*time.Second))
		}
		n.sleep(ctx, min(time.Until(n.soonest(next)), time.Until(end)))
	}
	if ctx.Err() != nil {
		return context.Cause(ctx) // what was found shall be kept as it is
	}
	return n.mend(ctx, time.Time{})
}

func (n *Nemesis) between(low, high time.Duration) time.Duration {
	return low + time.Duration(n.random.Int64N(int64(high-low)))
}

func (n *Nemesis) soonest(next time.Time) time.Time {
	for _, h := range n.force {
		if h.until.Before(next) {
			next = h.until
		}
	}
	return next
}

func (n *Nemesis) sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// begin chooses a fault; if its target is broken already, nothing happens this time.
func (n *Nemesis) begin(ctx context.Context) error {
	f := n.choose()
	length := n.between(50*time.Millisecond, f.Longest)
	if _, taken := n.force[f.Target]; taken || len(n.force) >= mostAtOnce {
		return nil
	}
	n.counts[f.Name]++
	err := n.do(ctx, f, "begin", f.Begin)
	n.force[f.Target] = held{f, time.Now().Add(length)}
	return err
}

func (n *Nemesis) choose() Fault {
	total := 0
	for _, f := range n.faults {
		total += f.Weight
	}
	k := n.random.IntN(total)
	for _, f := range n.faults {
		if k -= f.Weight; k < 0 {
			return f
		}
	}
	return n.faults[0] // not reached: k is below the sum of the weights
}

// mend ends the faults whose time is over, in the order of their ends; the zero time ends all.
func (n *Nemesis) mend(ctx context.Context, now time.Time) error {
	for _, target := range slices.SortedFunc(maps.Keys(n.force), func(a, b string) int { return n.force[a].until.Compare(n.force[b].until) }) {
		h := n.force[target]
		if !now.IsZero() && h.until.After(now) {
			continue
		}
		delete(n.force, target)
		if err := n.do(ctx, h.fault, "end", h.fault.End); err != nil {
			return err
		}
	}
	return nil
}

func (n *Nemesis) do(ctx context.Context, f Fault, phase string, what func(context.Context) error) error {
	e := Entry{Time: time.Now(), Fault: f.Name, Phase: phase}
	err := what(ctx)
	if err != nil {
		e.Error = err.Error()
		err = fmt.Errorf("%s of fault %s: %w", phase, f.Name, err)
	}
	n.note(e)
	return err
}
