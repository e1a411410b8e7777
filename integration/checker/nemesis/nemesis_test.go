package nemesis

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

func TestEverythingIsMended(t *testing.T) {
	inForce := map[string]bool{}
	fault := func(name, target string) Fault {
		return Fault{Name: name, Target: target, Weight: 1, Longest: 300 * time.Millisecond,
			Begin: func(context.Context) error {
				if inForce[target] || len(inForce) >= mostAtOnce {
					t.Errorf("%s begins beside %v", name, inForce)
				}
				inForce[target] = true
				return nil
			},
			End: func(context.Context) error {
				if !inForce[target] {
					t.Errorf("%s ends and was not in force", name)
				}
				delete(inForce, target)
				return nil
			}}
	}
	var log []Entry
	n := New([]Fault{fault("a", "x"), fault("b", "x"), fault("c", "y"), fault("d", "z"), fault("e", "w")}, 7, func(e Entry) { log = append(log, e) })
	for range 3 {
		if err := n.Trouble(t.Context(), time.Second); err != nil {
			t.Fatal(err)
		}
		if len(inForce) != 0 {
			t.Fatalf("%v are still in force", inForce)
		}
	}
	begun := 0
	for _, c := range n.Counts() {
		begun += c
	}
	if begun == 0 || len(log) != 2*begun {
		t.Errorf("%d faults, %d lines", begun, len(log))
	}
}

func TestTheSeedChooses(t *testing.T) {
	names := func(seed uint64) (out []string) {
		n := New([]Fault{{Name: "a", Weight: 5}, {Name: "b", Weight: 1}, {Name: "c", Weight: 3}}, seed, nil)
		for range 50 {
			out = append(out, n.choose().Name)
		}
		return out
	}
	if !slices.Equal(names(1), names(1)) || slices.Equal(names(1), names(2)) {
		t.Error("the choice does not follow the seed")
	}
}

func TestErrorsEndTheTrouble(t *testing.T) {
	broken := errors.New("cannot be mended")
	ok := func(context.Context) error { return nil }
	n := New([]Fault{{Name: "a", Target: "x", Weight: 1, Longest: 100 * time.Millisecond, Begin: ok, End: func(context.Context) error { return broken }}}, 1, func(Entry) {})
	if err := n.Trouble(t.Context(), time.Minute); !errors.Is(err, broken) {
		t.Errorf("trouble ends with %v", err)
	}
}

func TestNothingIsMendedWhenTheRunEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	n := New([]Fault{{Name: "a", Target: "x", Weight: 1, Longest: time.Minute,
		Begin: func(context.Context) error { cancel(); return nil },
		End:   func(context.Context) error { t.Error("it was mended"); return nil },
	}}, 1, func(Entry) {})
	if err := n.Trouble(ctx, time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("trouble ends with %v", err)
	}
}
