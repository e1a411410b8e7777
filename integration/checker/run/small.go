package run

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"tidemark/integration/checker/check"
	"tidemark/integration/checker/oracle"
)

// dice is chance that several goroutines share.
type dice struct {
	mu     *sync.Mutex
	random *rand.Rand
}

func newDice(seed, stream uint64) dice {
	return dice{mu: new(sync.Mutex), random: rand.New(rand.NewPCG(seed, stream))}
}

// roll gives a number from 0 to n-1.
func (d dice) roll(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.random.IntN(n)
}

func (d dice) between(low, high time.Duration) time.Duration {
	return low + time.Duration(d.roll(int(high-low)))
}

// errLate is the cause of a context that ended because a copy did not catch up in time.
var errLate = errors.New("time is up")

func isViolation(err error) bool {
	_, ok := errors.AsType[*check.Violation](err)
	return ok
}

// scan asks the primary for one value.
func scan[T any](ctx context.Context, r *run, query string) (v T, err error) {
	conn, err := oracle.Connect(ctx, r.world.Primary.URL())
	if err != nil {
		return v, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return v, conn.QueryRow(ctx, query).Scan(&v)
}

const faultsCounted = "faults"

// count gathers what every part counted.
func (r *run) count() {
	if r.load == nil {
		return
	}
	r.tally.merge("load: ", r.load.Counts())
	for name, n := range r.nemesis.Counts() {
		r.tally.add("fault: "+name, n)
		r.tally.add(faultsCounted, n)
	}
	r.tally.merge("stream: ", r.stream.Counts())
	r.tally.merge("exact snapshots: ", r.sampler.Counts())
	r.tally.merge("restored: ", r.restore.Counts())
	r.tally.merge("journal: ", r.journal.Counts())
	r.tally.merge("trace: ", r.trace.Counts())
}
