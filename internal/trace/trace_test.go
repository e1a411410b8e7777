package trace

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tidemark/internal/position"
)

func lines(t *testing.T, name string) []string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text, ended := strings.CutSuffix(string(b), "\n")
	if !ended {
		t.Error("the trace does not end with a line")
	}
	return strings.Split(text, "\n")
}

// timeless checks a line's time and takes it out.
func timeless(t *testing.T, line string) string {
	t.Helper()
	before, rest, _ := strings.Cut(line, `"t":"`)
	text, after, _ := strings.Cut(rest, `",`)
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || time.Since(at).Abs() > time.Minute || !strings.HasSuffix(text, "Z") {
		t.Errorf("line %s has the time %q, %v", line, text, err)
	}
	return before + after
}

func TestLines(t *testing.T) {
	name := filepath.Join(t.TempDir(), "trace")
	w, err := Open(name, "v1")
	if err != nil {
		t.Fatal(err)
	}
	const end = position.LSN(0x1_0000_002A)
	for _, err := range []error{
		w.Opened(end, "1.tms", 8), w.Appended(end+1, "1.tms", 16), w.File("sync", "1.tms", 16), w.Acknowledging(end+1, end), w.Close(),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	want := []string{
		fmt.Sprintf(`{"e":"start","seq":1,"pid":%d,"version":"v1"}`, os.Getpid()),
		`{"e":"open","seq":2,"end":"1/2A","file":"1.tms","size":8}`,
		`{"e":"append","seq":3,"end":"1/2B","file":"1.tms","size":16}`,
		`{"e":"sync","seq":4,"file":"1.tms","size":16}`,
		`{"e":"ack","seq":5,"flush":"1/2B","apply":"1/2A"}`,
	}
	got := lines(t, name)
	if len(got) != len(want) {
		t.Fatalf("lines %q", got)
	}
	for i := range want {
		if line := timeless(t, got[i]); line != want[i] {
			t.Errorf("line %d is %s, want %s", i+1, line, want[i])
		}
	}
}

// TestSecondStart: what a killed process left of its last line spoils no line of the next.
func TestSecondStart(t *testing.T) {
	for name, left := range map[string]string{"nothing": "", "whole line": "{}\n", "half a line": "{}\n{\"e\":\"ack"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "trace")
			if err := os.WriteFile(path, []byte(left), 0o600); err != nil {
				t.Fatal(err)
			}
			w, err := Open(path, "v1")
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Error(err)
			}
			got := lines(t, path)
			if last := got[len(got)-1]; !strings.HasPrefix(last, `{"e":"start","seq":1,`) || !json.Valid([]byte(last)) {
				t.Errorf("the last line is %s", last)
			}
			if want := strings.Count(strings.TrimSuffix(left, "\n"), "\n") + 1; left != "" && len(got) != want+1 {
				t.Errorf("lines %q", got)
			}
		})
	}
}

// broken takes so many writes.
type broken struct {
	bytes.Buffer
	left int
}

func broke(err error) bool { return errors.Is(err, ErrBroken) && !errors.Is(err, syscall.ENOSPC) }

func (b *broken) Write(p []byte) (int, error) {
	if b.left--; b.left < 0 {
		return 0, syscall.ENOSPC
	}
	return b.Buffer.Write(p)
}

func (b *broken) Close() error { return nil }

// TestFailure: after a line that could not be written there is no other one, although there is room again.
func TestFailure(t *testing.T) {
	out := &broken{left: 1}
	w := &Writer{out: out}
	if err := w.Acknowledging(1, 1); err != nil {
		t.Fatal(err)
	}
	if err := w.Acknowledging(2, 2); !broke(err) {
		t.Errorf("a line that was not written gave %v", err)
	}
	out.left = 10
	if err := w.Acknowledging(3, 3); !broke(err) {
		t.Errorf("the line behind it gave %v", err)
	}
	if err := w.Close(); !broke(err) {
		t.Errorf("closing gave %v", err)
	}
	if n := strings.Count(out.String(), "\n"); n != 1 {
		t.Errorf("%d lines, want 1", n)
	}
	if err := w.Acknowledging(4, 4); err == nil {
		t.Error("a closed trace took a line")
	}
}

// TestConcurrent: sequence numbers stand in the order of the lines, without gaps.
func TestConcurrent(t *testing.T) {
	name := filepath.Join(t.TempDir(), "trace")
	w, err := Open(name, "v1")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 50 {
				if err := w.Acknowledging(1, 1); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	got := lines(t, name)
	if len(got) != 401 {
		t.Fatalf("%d lines", len(got))
	}
	for i, line := range got {
		var h head
		if err := json.Unmarshal([]byte(line), &h); err != nil || h.Sequence != uint64(i+1) {
			t.Fatalf("line %d is %s: %v", i+1, line, err)
		}
	}
}
