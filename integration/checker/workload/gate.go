package workload

import (
	"context"
	"sync"
	"time"
)

// gate lets sessions work, or none.
type gate struct {
	mu     sync.Mutex
	closed int           // how many want quiet
	busy   int           // sessions at work
	change chan struct{} // closed and made anew at every change
}

func newGate() *gate { return &gate{change: make(chan struct{})} }

func (g *gate) update(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
	close(g.change)
	g.change = make(chan struct{})
}

// await waits until ready is true, and then does what is to be done at that moment.
func (g *gate) await(ctx context.Context, ready func() bool, then func()) error {
	for {
		g.mu.Lock()
		if ready() {
			then()
			g.mu.Unlock()
			return nil
		}
		change := g.change
		g.mu.Unlock()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-change:
		}
	}
}

func (g *gate) enter(ctx context.Context) error {
	return g.await(ctx, func() bool { return g.closed == 0 }, func() { g.busy++ })
}

func (g *gate) leave() { g.update(func() { g.busy-- }) }

func (g *gate) close(ctx context.Context) error {
	g.update(func() { g.closed++ })
	err := g.await(ctx, func() bool { return g.busy == 0 }, func() {})
	if err != nil {
		g.open()
	}
	return err
}

func (g *gate) open() { g.update(func() { g.closed = max(g.closed-1, 0) }) }

// limit spaces events evenly.
type limit struct {
	mu   sync.Mutex
	gap  time.Duration // 0: no limit
	next time.Time
}

// reserve returns how long to wait until it is one's turn.
func (l *limit) reserve(now time.Time) time.Duration {
	if l.gap == 0 {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next.Before(now) {
		l.next = now
	}
	wait := l.next.Sub(now)
	l.next = l.next.Add(l.gap)
	return wait
}

// sleep reports whether it slept to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
