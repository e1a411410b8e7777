package main

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
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

// major is the PostgreSQL version to run on: the first of TIDEMARK_TEST_PG, otherwise 17. make setup brings either.
func major(t *testing.T) int {
	t.Helper()
	first, _, _ := strings.Cut(cmp.Or(strings.TrimSpace(os.Getenv("TIDEMARK_TEST_PG")), "17"), " ")
	n, err := strconv.Atoi(first)
	if err != nil {
		t.Fatalf("TIDEMARK_TEST_PG: %v", err)
	}
	return n
}

// check makes a run. Its directory lies outside the test's own, so that it stays when something is found.
func check(t *testing.T, cfg run.Config) run.Report {
	t.Helper()
	dir, err := os.MkdirTemp("", "tidemark-check-") //nolint:usetesting // it must stay when something is found
	if err != nil {
		t.Fatal(err)
	}
	cfg.Dir, cfg.Log = dir, slog.New(slog.NewTextHandler(io.Discard, nil))
	ctx, cancel := context.WithTimeout(t.Context(), cfg.Length+4*time.Minute)
	defer cancel()
	report, err := run.Run(ctx, cfg)
	if err != nil {
		t.Fatalf("the run proves nothing: %v (files in %s)", err, dir)
	}
	return report
}

// TestFixedSeed is one run whose choices are the same every time; their timing is not.
func TestFixedSeed(t *testing.T) {
	bin := os.Getenv("TIDEMARK_BIN")
	if bin == "" {
		bin = build(t, "")
	}
	report := check(t, run.Config{Bin: bin, Major: major(t), Seed: 1, Length: 45 * time.Second, Sessions: 8})
	t.Log(report.Text())
	if report.Violation != "" {
		t.Fatal("the service broke a promise")
	}
}
