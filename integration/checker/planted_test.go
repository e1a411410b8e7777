//go:build planted

package main

import (
	"os"
	"slices"
	"testing"
	"time"

	"tidemark/internal/planted"

	"tidemark/integration/checker/run"
)

// bounded is how long a run may take to find a planted bug.
const bounded = 5 * time.Minute

// contents are the checks of what copies hold.
var contents = []string{"standby", "stream", "restore", "journal"}

// finders are the checks that may find a bug, where not any of contents does: what is found by chance proves nothing.
var finders = map[planted.Bug][]string{
	planted.AckOnReceipt: {"acknowledgement"}, planted.AckCommitLSN: {"acknowledgement"}, planted.KeepaliveAcked: {"acknowledgement"},
	planted.FsyncSkipped: {"acknowledgement"}, planted.TailCut: {"acknowledgement", "journal", "standby", "stream"},
	// The archiver itself looks for holes when it opens the archive, and stops at one.
	planted.ArchiveEarly: append([]string{"service"}, contents...),
	// Reordered rows may be refused by the standby, which then stands still.
	planted.BatchReordered: append([]string{"live", "service"}, contents...),
}

// TestPlanted switches on one bug at a time in the real program: each must be found, by a check that is made to.
func TestPlanted(t *testing.T) {
	bin := build(t, "planted")
	for i, bug := range planted.All() {
		t.Run(string(bug), func(t *testing.T) {
			report := check(t, run.Config{Bin: bin, Major: major(t), Seed: uint64(i) + 1, Length: bounded, Planted: string(bug), Sessions: 8})
			want := finders[bug]
			if want == nil {
				want = contents
			}
			if !slices.Contains(want, report.Check) || report.Detected > bounded.Seconds() {
				t.Fatalf("it was not found by %v: %s", want, report.Text())
			}
			t.Logf("| %s | %.0f | %s |", bug, report.Detected, report.Check)
			if err := os.RemoveAll(report.Dir); err != nil {
				t.Error(err)
			}
		})
	}
}
