//go:build planted

package main

import (
	"testing"
	"time"

	"tidemark/internal/planted"

	"tidemark/integration/checker/run"
)

// bounded is how long a run may take to find a planted bug.
const bounded = 3 * time.Minute

// TestPlanted switches on one bug at a time in the real program: each must be found.
func TestPlanted(t *testing.T) {
	bin := build(t, "planted")
	for i, bug := range planted.All() {
		t.Run(string(bug), func(t *testing.T) {
			report := check(t, run.Config{Bin: bin, Major: 17, Seed: uint64(i) + 1, Length: bounded, Planted: string(bug), Sessions: 8})
			if report.Violation == "" {
				t.Fatalf("it was not found: %s", report.Text())
			}
			t.Logf("%s | %.0f s | %s", bug, report.Detected, report.Violation)
		})
	}
}
