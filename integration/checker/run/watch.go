package run

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"tidemark/integration/checker/check"
)

// watch knows when the service may be gone: while the director or a fault has taken it down, and when the disk under
// its journal was full as it started.
type watch struct {
	mu      sync.Mutex
	down    int       // how many hold it down
	taken   int       // how often somebody took it down
	excused time.Time // until when an end of its own is excused
}

func (w *watch) takeDown() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down++
	w.taken++
}

func (w *watch) bringUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down--
}

func (w *watch) excuse(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.excused = time.Now().Add(d)
}

// takings returns how often somebody took the service down.
func (w *watch) takings() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.taken
}

func (w *watch) isDown() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.down > 0
}

// supervise starts the service again when it gave up in an excused way, as a service manager would, and calls every other end of its own a violation.
func (r *run) supervise(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(100 * time.Millisecond):
		}
		r.watch.mu.Lock()
		err := r.gone(ctx)
		r.watch.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// gone holds the watch's lock, so that nobody takes the service down or brings it up meanwhile.
func (r *run) gone(ctx context.Context) error {
	if r.watch.down > 0 || r.world.Service.Running() {
		return nil
	}
	if time.Now().After(r.watch.excused) {
		return check.Violated("service", 0, "the service ended by itself: its log is %s", r.world.Service.LogFile())
	}
	r.tally.add("service restarts after a full disk", 1)
	if err := r.world.Service.Start(ctx); err != nil {
		return fmt.Errorf("start the service again: %w", err)
	}
	return nil
}

// retry makes a check until it says that all is well or that something is violated. When time is up, the error is the last that had
// another cause.
func retry(ctx context.Context, pause time.Duration, what func(context.Context) error) (err error) {
	for {
		latest := what(ctx)
		if latest == nil || isViolation(latest) {
			return latest
		}
		if ctx.Err() != nil {
			return cmp.Or(err, latest)
		}
		err = latest
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}
