package sinktest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"tidemark/internal/position"
	"tidemark/internal/progress"
	"tidemark/internal/segment"
	"tidemark/internal/sink"
)

func testEmpty(t *testing.T, r *run) {
	r.open(t)
	if r.reached != (sink.Reached{}) {
		t.Errorf("an empty target says %+v", r.reached)
	}
	r.apply(t)
	if r.reached != (sink.Reached{}) {
		t.Errorf("a tick moved an empty target to %+v", r.reached)
	}
	r.close(t)
	r.holds(t, nil)
}

func testCloseWithoutOpen(t *testing.T, r *run) {
	s := r.target.Sink(t)
	if err := s.Close(r.ctx); err != nil {
		t.Errorf("close a sink that was not opened: %v", err)
	}
}

func testOneBatch(t *testing.T, r *run) {
	r.open(t)
	r.apply(t, history()...)
	r.settle(t)
	r.holds(t, history())
	if r.reached.Stored != historyEnd {
		t.Errorf("settled sink stores %s, want %s", r.reached.Stored, historyEnd)
	}
	r.close(t)
}

// testFrameByFrame settles behind every frame, so that the target is compared at every position.
func testFrameByFrame(t *testing.T, r *run) {
	r.open(t)
	for i, f := range history() {
		r.apply(t, f)
		r.settle(t)
		got, want := r.target.Effects(t), effects(history()[:i+1])
		if len(got) > len(want) || !slices.Equal(got, want[:len(got)]) {
			t.Fatalf("behind frame %d the target holds %v, no prefix of %v", i, got, want)
		}
		if n := len(effects(whole(history()[:i+1]))); len(got) < n {
			t.Fatalf("behind frame %d the target holds %d rows of %d in settled transactions", i, len(got), n)
		}
	}
	r.close(t)
	r.holds(t, history())
}

// whole cuts frames behind the last complete transaction.
func whole(frames []segment.Frame) []segment.Frame {
	for i := len(frames); i > 0; i-- {
		if frames[i-1].Last {
			return frames[:i]
		}
	}
	return nil
}

// testReopen closes in good order behind every transaction; the position survives and nothing is repeated.
func testReopen(t *testing.T, r *run) {
	for i, f := range history() {
		if !f.Last {
			continue
		}
		r.open(t)
		r.apply(t, behind(history()[:i+1], r.reached.Stored)...)
		r.settle(t)
		stored := r.reached.Stored
		r.close(t)
		r.open(t)
		if r.reached.Stored < stored {
			t.Fatalf("reopened at %s, had stored %s", r.reached.Stored, stored)
		}
		r.close(t)
	}
	r.holds(t, history())
}

// testKilledAtEveryFrame kills the sink behind each frame, whether it was handed over alone or in a batch, and
// lets another one go on.
func testKilledAtEveryFrame(t *testing.T, r *run) {
	all := history()
	for cut := 1; cut <= len(all); cut++ {
		for _, single := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d/single=%v", cut, single), func(t *testing.T) {
				r := &run{ctx: r.ctx, harness: r.harness, target: r.harness.New(t)}
				r.open(t)
				if single {
					for _, f := range all[:cut] {
						r.apply(t, f)
					}
				} else {
					r.apply(t, all[:cut]...)
				}
				r.target.Kill(t, r.sink)
				r.finish(t, all, r.reached.Stored)
			})
		}
	}
}

// finish opens a new sink, checks where it stands, and gives it the rest. Like the Runner, it starts over at an error that
// is not permanent: what the killed sink had under way may still be arriving.
func (r *run) finish(t *testing.T, all []segment.Frame, stored position.LSN) {
	t.Helper()
	given := r.given
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		err := r.goOn(t, all, stored, given)
		if err == nil {
			break
		}
		if sink.IsPermanent(err) || time.Since(begun) > r.harness.Settle {
			t.Fatal(err)
		}
		given = max(given, r.given)
	}
	r.holds(t, all)
}

func (r *run) goOn(t *testing.T, all []segment.Frame, stored, given position.LSN) error {
	t.Helper()
	defer func() { r.close(t) }()
	if err := r.tryOpen(t); err != nil {
		return err
	}
	if r.reached.Stored < stored {
		t.Fatalf("target stands at %s, the sink had reported %s", r.reached.Stored, stored)
	}
	if r.reached.Stored > given {
		t.Fatalf("target stands at %s, and only %s was given whole", r.reached.Stored, given)
	}
	for _, f := range behind(all, r.reached.Stored) {
		if err := r.tryApply(t, f); err != nil {
			return err
		}
	}
	return r.trySettle(t)
}

func testKilledWhenSettled(t *testing.T, r *run) {
	r.open(t)
	r.apply(t, history()...)
	r.settle(t)
	r.target.Kill(t, r.sink)
	r.finish(t, history(), r.reached.Stored)
}

// testCancelledApply ends the context in the middle: the sink returns, and closes within its bound.
func testCancelledApply(t *testing.T, r *run) {
	r.open(t)
	half := len(history()) / 2
	r.apply(t, history()[:half]...)
	ctx, cancel := context.WithCancel(r.ctx)
	cancel()
	_, err := r.sink.Apply(ctx, history()[half:])
	if sink.IsPermanent(err) {
		t.Errorf("an ended context is a permanent error: %v", err)
	}
	if err == nil {
		r.given = historyEnd
	}
	bound, stop := context.WithTimeout(r.ctx, 5*time.Second)
	defer stop()
	begun := time.Now()
	_ = r.sink.Close(bound)
	if d := time.Since(begun); d > 6*time.Second {
		t.Errorf("close took %v", d)
	}
	r.given = historyEnd // how much of the cancelled batch took effect is open
	r.finish(t, history(), r.reached.Stored)
}

// testRunner lets a Runner drive the sink over a journal that grows.
func testRunner(t *testing.T, r *run) {
	j := NewJournal()
	board := progress.New()
	runner, err := sink.New(sink.Config{Name: "conformance", Sink: r.target.Sink(t), Open: j.Open, Board: board})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.ctx)
	done := make(chan error, 1)
	go func() { done <- runner.Run(ctx) }()
	for _, f := range history() {
		j.Append(f)
	}
	limit := time.After(r.harness.Settle)
	for mark := (progress.Mark{}); mark.Covered != historyEnd && !t.Failed(); {
		changed := board.Changed()
		if mark, _ = board.Get("conformance"); mark.Covered == historyEnd {
			break
		}
		select {
		case <-changed:
		case <-limit:
			t.Errorf("runner is at %+v, state %+v", mark, runner.State())
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("runner: %v", err)
	}
	r.holds(t, history())
}
