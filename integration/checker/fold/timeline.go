package fold

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"sync"
	"time"

	"tidemark/internal/position"
)

// Entry is a transaction as a Timeline remembers it.
type Entry struct {
	End       position.LSN
	XID       uint32
	Commit    time.Time
	Published bool
	Counts    []Count
}

// Timeline is every table's sum at every end LSN. All methods may be called at any time from any goroutine.
type Timeline struct {
	mu      sync.Mutex
	entries []Entry
	latest  []time.Time // the latest commit time of published transactions up to each entry
	tables  map[string][]step
	covered position.LSN
	moved   chan struct{} // closed when covered moves
}

type step struct {
	at  position.LSN
	sum Sum
}

// NewTimeline begins with empty tables.
func NewTimeline(tables []Table) *Timeline {
	l := &Timeline{tables: map[string][]step{}, moved: make(chan struct{})}
	for _, t := range tables {
		l.tables[t.String()] = []step{{}}
	}
	return l
}

// Add appends a transaction, and the sums that the tables it touched have after it. It fails when the transaction does not follow the last one.
func (l *Timeline) Add(tx Transaction, sums map[string]Sum) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	latest := time.Time{}
	if n := len(l.entries); n > 0 {
		if last := l.entries[n-1].End; tx.End <= last {
			return fmt.Errorf("transaction %s does not follow %s", tx.End, last)
		}
		latest = l.latest[n-1]
	}
	if tx.Published && tx.Commit.After(latest) {
		latest = tx.Commit
	}
	l.entries = append(l.entries, Entry{End: tx.End, XID: tx.XID, Commit: tx.Commit, Published: tx.Published, Counts: tx.Counts()})
	l.latest = append(l.latest, latest)
	for table, sum := range sums {
		l.tables[table] = append(l.tables[table], step{tx.End, sum})
	}
	return nil
}

// Cover says that every transaction that ends at or below lsn has been added.
func (l *Timeline) Cover(lsn position.LSN) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if lsn > l.covered {
		l.covered = lsn
		close(l.moved)
		l.moved = make(chan struct{})
	}
}

// Covered returns the LSN up to which the timeline is complete.
func (l *Timeline) Covered() position.LSN {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.covered
}

// Wait waits until the timeline is complete up to lsn. The error is the context's.
func (l *Timeline) Wait(ctx context.Context, lsn position.LSN) error {
	for {
		l.mu.Lock()
		covered, moved := l.covered, l.moved
		l.mu.Unlock()
		if covered >= lsn {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("wait for the reference log to reach %s (it is at %s): %w", lsn, covered, context.Cause(ctx))
		}
	}
}

// At returns every table's sum after the transactions that end at or below lsn. Call Wait first.
func (l *Timeline) At(lsn position.LSN) map[string]Sum {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[string]Sum, len(l.tables))
	for table, steps := range l.tables {
		i := sort.Search(len(steps), func(i int) bool { return steps[i].at > lsn })
		out[table] = steps[i-1].sum
	}
	return out
}

// Transactions returns the transactions that end behind from and not behind to.
func (l *Timeline) Transactions(from, to position.LSN) []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	after := func(lsn position.LSN) int {
		return sort.Search(len(l.entries), func(i int) bool { return l.entries[i].End > lsn })
	}
	return slices.Clone(l.entries[after(from):max(after(from), after(to))])
}

// Find returns the transaction that ends at lsn.
func (l *Timeline) Find(lsn position.LSN) (Entry, bool) {
	found := l.Transactions(lsn-1, lsn)
	if len(found) == 0 {
		return Entry{}, false
	}
	return found[0], true
}

// Prefix returns where a restore to the moment t ends: the end LSN of the last transaction before the first published one
// that committed later than t; zero when that is the very first. Only published transactions count: nobody else's commit time
// reaches a subscriber.
func (l *Timeline) Prefix(t time.Time) position.LSN {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := sort.Search(len(l.entries), func(i int) bool { return l.latest[i].After(t) })
	if i == 0 {
		return 0
	}
	return l.entries[i-1].End
}
