package run

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Report is what a run did and found.
type Report struct {
	Seed      uint64         `json:"seed"`
	Major     int            `json:"postgresql"`
	Planted   string         `json:"planted,omitempty"`
	Seconds   float64        `json:"seconds"`
	Counts    map[string]int `json:"counts"`
	Violation string         `json:"violation,omitempty"`
	// Check is which check found it.
	Check string `json:"check,omitempty"`
	// Detected is when the violation was found, in seconds from the begin of the load.
	Detected float64 `json:"detected_seconds,omitempty"`
	Dir      string  `json:"directory,omitempty"`
	Repeat   string  `json:"repeat,omitempty"`
}

// tally counts what was done, from many goroutines.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func newTally() *tally { return &tally{counts: map[string]int{}} }

func (t *tally) add(name string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts[name] += n
}

func (t *tally) merge(prefix string, counts map[string]int) {
	for name, n := range counts {
		t.add(prefix+name, n)
	}
}

func (t *tally) copy() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.counts)
}

// Text is the report for people.
func (r Report) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d, PostgreSQL %d, %v", r.Seed, r.Major, time.Duration(r.Seconds*float64(time.Second)).Round(time.Second))
	if r.Planted != "" {
		fmt.Fprintf(&b, ", planted %s", r.Planted)
	}
	b.WriteByte('\n')
	for _, name := range slices.Sorted(maps.Keys(r.Counts)) {
		fmt.Fprintf(&b, "  %-40s %d\n", name, r.Counts[name])
	}
	if r.Violation == "" {
		b.WriteString("no violation\n")
		return b.String()
	}
	fmt.Fprintf(&b, "VIOLATION after %.1f s: %s\n", r.Detected, r.Violation)
	if r.Dir != "" {
		fmt.Fprintf(&b, "everything is kept in %s; the run again: %s\n", r.Dir, r.Repeat)
	}
	return b.String()
}

// JSON is the report for programs, in one line.
func (r Report) JSON() string {
	b, err := json.Marshal(r)
	if err != nil {
		return err.Error() // not reached: every field can be written
	}
	return string(b)
}
