package rpo

import (
	"sort"
	"sync"

	"tidemark/internal/position"
)

// agesLimit bounds Ages: 8,192 samples are 192 KiB.
const agesLimit = 8192

type sample struct {
	first position.LSN // end LSN of the first transaction in the sample
	last  position.LSN // end LSN of its last transaction
	time  position.Time
}

// Ages remembers when the transactions committed that a copy may still lack. When it is full, neighbours are merged
// under the smaller time, so that an answer is never younger than the truth. All methods may be called from any
// goroutine.
type Ages struct {
	mu sync.Mutex
	// from is where the memory begins: of transactions that end at or below it nothing is known any more.
	from    position.LSN
	samples []sample
}

// Begin says that everything behind from will be told. It is called before the first Add.
func (a *Ages) Begin(from position.LSN) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.from = from
}

// Add takes the next transaction in commit order.
func (a *Ages) Add(end position.LSN, commit position.Time) { a.Span(end, end, commit) }

// Span takes a run of transactions of which only the bounds are known: the first ends at or behind first, the last at last, and
// none committed before oldest.
func (a *Ages) Span(first, last position.LSN, oldest position.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.samples); last <= a.from || n > 0 && last <= a.samples[n-1].last {
		return // received again after a reconnect
	}
	if len(a.samples) >= agesLimit {
		a.merge()
	}
	a.samples = append(a.samples, sample{first: first, last: last, time: oldest})
}

func (a *Ages) merge() {
	half := a.samples[:0]
	for i := 0; i+1 < len(a.samples); i += 2 {
		x, y := a.samples[i], a.samples[i+1]
		half = append(half, sample{first: x.first, last: y.last, time: min(x.time, y.time)})
	}
	a.samples = half
}

// Oldest returns the smallest commit time among the transactions that end behind held; missing is false when there is
// none. known is false when held lies before the memory's beginning.
func (a *Ages) Oldest(held position.LSN) (oldest position.Time, missing, known bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if held < a.from {
		return 0, true, false
	}
	i := sort.Search(len(a.samples), func(i int) bool { return a.samples[i].last > held })
	if i == len(a.samples) {
		return 0, false, true
	}
	oldest = a.samples[i].time
	for _, s := range a.samples[i+1:] {
		oldest = min(oldest, s.time)
	}
	return oldest, true, true
}

// Forget drops what every copy holds.
func (a *Ages) Forget(floor position.LSN) {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := sort.Search(len(a.samples), func(i int) bool { return a.samples[i].last > floor })
	a.from = max(a.from, floor)
	a.samples = append(a.samples[:0], a.samples[i:]...)
}

// Last returns the end LSN of the newest transaction, zero when none is remembered.
func (a *Ages) Last() position.LSN {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.samples) == 0 {
		return 0
	}
	return a.samples[len(a.samples)-1].last
}
