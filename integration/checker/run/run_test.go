package run

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tidemark/internal/position"

	"tidemark/integration/checker/check"
	"tidemark/integration/checker/fold"
	"tidemark/integration/checker/world"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRetry(t *testing.T) {
	broken := check.Violated("x", 0, "broken")
	for name, c := range map[string]struct {
		results []error
		want    error
	}{
		"at once":     {[]error{nil}, nil},
		"later":       {[]error{errors.New("down"), errors.New("down"), nil}, nil},
		"a violation": {[]error{errors.New("down"), broken, nil}, broken},
	} {
		n := 0
		err := retry(t.Context(), time.Millisecond, func(context.Context) error { n++; return c.results[n-1] })
		if !errors.Is(err, c.want) || n != len(c.results) && c.want == nil {
			t.Errorf("%s: %v after %d", name, err, n)
		}
	}
	down := errors.New("the server is down")
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	err := retry(ctx, time.Millisecond, func(ctx context.Context) error {
		if n++; n == 3 {
			cancel()
			return ctx.Err()
		}
		return down
	})
	if !errors.Is(err, down) {
		t.Errorf("the error is %v: what the time limit itself made says nothing", err)
	}
}

// A quiet period that never ends is a violation, one that the run's end cuts off is none.
func TestBounded(t *testing.T) {
	r := &run{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.bounded(ctx, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }); isViolation(err) {
		t.Errorf("the run's end: %v", err)
	}
	other := errors.New("the oracle contradicts itself")
	if err := r.bounded(t.Context(), func(context.Context) error { return other }); !errors.Is(err, other) || isViolation(err) {
		t.Errorf("another error: %v", err)
	}
}

func TestFirstViolationIsKept(t *testing.T) {
	var f first
	one, two := check.Violated("a", 0, "one"), check.Violated("b", 0, "two")
	for _, err := range []error{nil, errDone, one, two} {
		if got := f.keep(err); !errors.Is(got, err) {
			t.Errorf("%v became %v", err, got)
		}
	}
	if !errors.Is(f.violation, one) {
		t.Errorf("kept %v", f.violation)
	}
}

func TestDishonestLag(t *testing.T) {
	table := fold.Table{Schema: "s", Name: "t", Columns: []fold.Column{{Name: "a", Type: "text"}}, Identity: fold.Full}
	r := &run{timeline: fold.NewTimeline([]fold.Table{table})}
	now := time.Now()
	for i, age := range []time.Duration{60 * time.Second, 30 * time.Second} {
		tx := fold.Transaction{End: position.LSN(10 * (i + 1)), Commit: now.Add(-age), Published: true, Changes: []fold.Change{{Op: fold.Insert, Table: "s.t"}}}
		if err := r.timeline.Add(tx, nil); err != nil {
			t.Fatal(err)
		}
	}
	r.timeline.Cover(20)
	for _, c := range []struct {
		at   position.LSN
		lag  float64
		lies bool
	}{{20, 0, false}, {10, 31, false}, {10, 28, false}, {10, 0, true}, {5, 31, true}, {5, 60, false}, {5, -1, false}} {
		if wrong := r.dishonest(world.Copy{Name: "x", Position: c.at, LagSeconds: c.lag}, now); (wrong != "") != c.lies {
			t.Errorf("at %s with a lag of %v: %q", c.at, c.lag, wrong)
		}
	}
}

func TestRunsThatProveNothing(t *testing.T) {
	r := &run{cfg: Config{Length: time.Minute}}
	full := map[string]int{
		"standby snapshots": 1, "restores": 1, "statuses": 1, "journals checked offline": 1, "quiet periods": 1, "exact snapshots: samples": 1,
		"stream: transactions": 1, "trace: ack": 1, faultsCounted: 1,
	}
	if err := r.idle(Report{Counts: full}); err != nil {
		t.Errorf("a run that did everything: %v", err)
	}
	for name := range full {
		full[name] = 0
		if err := r.idle(Report{Counts: full}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("a run without %s: %v", name, err)
		}
		full[name] = 1
	}
}

func TestRepeat(t *testing.T) {
	r := &run{cfg: Config{Seed: 7, Major: 15, Length: 45 * time.Second, Sessions: 8, Log: slog.Default()}}
	if got, want := r.repeat(), `make check SEED=7 MINUTES=0.75 PG=15 CHECKFLAGS="-sessions 8"`; got != want {
		t.Errorf("it says %s, want %s", got, want)
	}
}
