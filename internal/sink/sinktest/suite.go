package sinktest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"tidemark/internal/position"
	"tidemark/internal/segment"
	"tidemark/internal/sink"
)

// Target is one destination. Its sinks see the same data, as processes that follow each other do.
type Target interface {
	// Sink makes a new, unopened sink.
	Sink(t *testing.T) sink.Sink
	// Kill ends an open sink the way a kill of its process would: its connections break, and nothing is finished.
	Kill(t *testing.T, s sink.Sink)
	// Effects reads from the target itself, in the order in which a reader sees them, the positions of the rows in Rows
	// and Other. A target that shows whole transactions only gives those of whole transactions.
	Effects(t *testing.T) []position.Position
}

// Harness makes targets.
type Harness struct {
	// New makes an empty target, with the tables Rows and Other where tables must be made. It releases it with t.Cleanup.
	New func(t *testing.T) Target
	// Settle bounds how long a sink may take, with ticks, to make durable what it was given; default 20 s.
	Settle time.Duration
}

// Run holds a sink against its contract.
func Run(t *testing.T, h Harness) {
	if h.Settle == 0 {
		h.Settle = 20 * time.Second
	}
	for _, c := range []struct {
		name string
		run  func(*testing.T, *run)
	}{
		{"Empty", testEmpty},
		{"CloseWithoutOpen", testCloseWithoutOpen},
		{"OneBatch", testOneBatch},
		{"FrameByFrame", testFrameByFrame},
		{"Reopen", testReopen},
		{"KilledAtEveryFrame", testKilledAtEveryFrame},
		{"KilledWhenSettled", testKilledWhenSettled},
		{"CancelledApply", testCancelledApply},
		{"Runner", testRunner},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			c.run(t, &run{ctx: ctx, harness: h, target: h.New(t)})
		})
	}
}

// run is one case on one target.
type run struct {
	ctx     context.Context
	harness Harness
	target  Target
	sink    sink.Sink
	reached sink.Reached
	given   position.LSN // end of the last complete transaction that this sink was given
}

// history is what the suite hands over: plain and multi-part transactions, a repeated definition, a relation that
// appears within a transaction, and bookkeeping of our own between rows and alone.
func history() []segment.Frame {
	f := []segment.Frame{Rows.Define()}
	f = append(f, Transaction(0x1000, Part{Rows})...)
	f = append(f, Own.Define())
	f = append(f, Transaction(0x1100, Part{Own})...)
	f = append(f, Transaction(0x1200, Part{Rows, Rows, Rows})...)
	parts := Transaction(0x2000, Part{Rows, Own, Rows}, Part{Other, Rows}, Part{Own}, Part{Other})
	f = append(f, parts[0], Other.Define())
	f = append(f, parts[1:]...)
	f = append(f, Rows.Define(), Other.Define())
	f = append(f, Transaction(0x2100, Part{Other})...)
	f = append(f, Transaction(0x2180, Part{Own}, Part{Own})...)
	f = append(f, Transaction(0x3000, Part{Rows, Own})...)
	return f
}

const historyEnd = position.LSN(0x3000)

// effects are the positions that frames put into Rows and Other.
func effects(frames []segment.Frame) []position.Position {
	var out []position.Position
	for _, f := range frames {
		n := uint32(0)
		for m := range segment.Messages(f.Payload) {
			if f.Kind != segment.Part {
				continue
			}
			if id := relationOf(m); id == Rows.ID || id == Other.ID {
				out = append(out, position.Position{End: f.End, Ordinal: f.Ordinal + n})
			}
			n++
		}
	}
	return out
}

func relationOf(insert []byte) uint32 {
	return uint32(insert[1])<<24 | uint32(insert[2])<<16 | uint32(insert[3])<<8 | uint32(insert[4])
}

func (r *run) open(t *testing.T) {
	t.Helper()
	if err := r.tryOpen(t); err != nil {
		t.Fatal(err)
	}
}

func (r *run) tryOpen(t *testing.T) error {
	t.Helper()
	r.sink = r.target.Sink(t)
	reached, err := r.sink.Open(r.ctx)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	reached.Covered = max(reached.Covered, reached.Stored)
	r.reached, r.given = reached, reached.Covered
	return nil
}

func (r *run) close(t *testing.T) {
	t.Helper()
	if err := r.sink.Close(r.ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

func (r *run) apply(t *testing.T, frames ...segment.Frame) {
	t.Helper()
	if err := r.tryApply(t, frames...); err != nil {
		t.Fatal(err)
	}
}

// tryApply hands frames over, as the Runner does: their memory is spoiled afterwards. It returns the sink's error; a
// broken contract ends the test.
func (r *run) tryApply(t *testing.T, frames ...segment.Frame) error {
	t.Helper()
	lent := make([]segment.Frame, len(frames))
	for i, f := range frames {
		f.Payload, f.Meta = slices.Clone(f.Payload), slices.Clone(f.Meta)
		lent[i] = f
		if f.Kind == segment.Part && f.Last {
			r.given = max(r.given, f.End)
		}
	}
	reached, err := r.sink.Apply(r.ctx, lent)
	for _, f := range lent {
		for i := range f.Payload {
			f.Payload[i] = 0xDB
		}
		clear(f.Meta)
	}
	if err != nil {
		return fmt.Errorf("apply %s: %w", describe(frames), err)
	}
	reached.Covered = max(reached.Covered, reached.Stored)
	if reached.Covered > r.given {
		t.Fatalf("sink covers %s although it was given whole transactions up to %s only", reached.Covered, r.given)
	}
	if reached.Stored < r.reached.Stored {
		t.Fatalf("position went back from %s to %s", r.reached.Stored, reached.Stored)
	}
	r.reached = reached
	return nil
}

func (r *run) settle(t *testing.T) {
	t.Helper()
	if err := r.trySettle(t); err != nil {
		t.Fatal(err)
	}
}

// trySettle ticks until the sink covers all that it was given.
func (r *run) trySettle(t *testing.T) error {
	t.Helper()
	limit := time.NewTimer(r.harness.Settle)
	defer limit.Stop()
	for r.reached.Covered < r.given {
		if err := r.tryApply(t); err != nil {
			return err
		}
		if r.reached.Covered >= r.given {
			return nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-limit.C:
			t.Fatalf("sink covers %s after %v of ticks, and was given %s", r.reached.Covered, r.harness.Settle, r.given)
		}
	}
	return nil
}

// holds compares the target with what the frames should have left there.
func (r *run) holds(t *testing.T, frames []segment.Frame) {
	t.Helper()
	got, want := r.target.Effects(t), effects(frames)
	if !slices.Equal(got, want) {
		t.Errorf("target holds %v\nwant %v", got, want)
	}
}

// behind are the frames that a journal gives behind a position: all definitions, and later transactions.
func behind(frames []segment.Frame, after position.LSN) []segment.Frame {
	var out []segment.Frame
	for _, f := range frames {
		if f.Kind == segment.Definition || f.End > after {
			out = append(out, f)
		}
	}
	return out
}

func describe(frames []segment.Frame) string {
	if len(frames) == 0 {
		return "nothing (tick)"
	}
	f := frames[len(frames)-1]
	return fmt.Sprintf("%d frames to part %d of %s", len(frames), f.Number, f.End)
}
