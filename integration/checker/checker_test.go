package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"tidemark/integration/checker/run"
)

// build builds the program as it ships, or with the tag planted.
func build(t *testing.T, tags string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tidemark")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-tags", tags, "-o", path, "tidemark/cmd/tidemark")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v: %s", err, out)
	}
	return path
}

// check makes a run. Its directory lies outside the test's own, so that it stays when something is found.
func check(t *testing.T, cfg run.Config) run.Report {
	t.Helper()
	dir, err := os.MkdirTemp("", "tidemark-check-") //nolint:usetesting // it must stay when something is found
	if err != nil {
		t.Fatal(err)
	}
	cfg.Dir, cfg.Log = dir, slog.New(slog.NewTextHandler(io.Discard, nil))
	ctx, cancel := context.WithTimeout(t.Context(), cfg.Length+5*time.Minute)
	defer cancel()
	report, err := run.Run(ctx, cfg)
	if err != nil {
		t.Fatalf("the run proves nothing: %v (files in %s)", err, dir)
	}
	return report
}

// TestFixedSeed is one run that is the same every time, as far as two processors and six servers allow.
func TestFixedSeed(t *testing.T) {
	bin := os.Getenv("TIDEMARK_BIN")
	if bin == "" {
		bin = build(t, "")
	}
	report := check(t, run.Config{Bin: bin, Major: 17, Seed: 1, Length: 45 * time.Second, Sessions: 8})
	t.Log(report.Text())
	if report.Violation != "" {
		t.Fatal("the service broke a promise")
	}
	for _, name := range []string{"standby snapshots", "restores", "journals checked offline", "exact snapshots: samples", "stream: transactions", "trace: ack", "quiet periods"} {
		if report.Counts[name] == 0 {
			t.Errorf("the run counted no %s", name)
		}
	}
}
