package journal_test

import (
	"errors"
	"path"
	"sync"
	"testing"

	"tidemark/internal/journal"
	"tidemark/internal/position"
	"tidemark/internal/vfs/crashfs"
	"tidemark/internal/vfs/tracefs"
)

// auditor follows a trace: it knows which transactions are durable because an fsync covered them.
type auditor struct {
	mu      sync.Mutex
	waiting map[string]map[position.LSN]int64 // by file: where each transaction ends
	end     position.LSN                      // of the newest durable one
	opened  []position.LSN
	events  map[string]int
	err     error
}

func newAuditor() *auditor {
	return &auditor{waiting: map[string]map[position.LSN]int64{}, events: map[string]int{}}
}

func (a *auditor) file(event, file string, size int64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events[event]++
	for end, at := range a.waiting[file] {
		if event == tracefs.Synced && at <= size {
			a.end = max(a.end, end)
			delete(a.waiting[file], end)
		}
		if event == tracefs.Truncating && at > size {
			delete(a.waiting[file], end)
		}
	}
	return a.err
}

// Opened takes what recovery found: its fsync came before.
func (a *auditor) Opened(end position.LSN, file string, size int64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if path.Ext(file) != ".tms" || size <= 0 || a.events[tracefs.Synced] == 0 || a.events[tracefs.SyncedDir] == 0 {
		a.err = errors.New("opened before it was fsynced")
	}
	a.end, a.opened = max(a.end, end), append(a.opened, end)
	return a.err
}

// Appended takes a transaction.
func (a *auditor) Appended(end position.LSN, file string, size int64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events["append"]++
	if a.waiting[file] == nil {
		a.waiting[file] = map[position.LSN]int64{}
	}
	a.waiting[file][end] = size
	return a.err
}

func (a *auditor) durable() position.LSN {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.end
}

func (a *auditor) config() journal.Config {
	cfg := small()
	cfg.Trace = a
	return cfg
}

// TestTraceJustifiesDurable: whatever the journal says is durable, the trace has already proven.
func TestTraceJustifiesDurable(t *testing.T) {
	disk, a := crashfs.New(), newAuditor()
	j, b := mustOpen(t, tracefs.New(disk, a.file), a.config())
	for n := 1; n <= 40; n++ {
		mustAdd(t, j, n, n)
		if n%4 != 0 { // what the syncer finds is several transactions at once
			continue
		}
		mustAwait(t, j, b, n)
		if durable, _ := j.Durable(); a.durable() < durable {
			t.Fatalf("the journal says %s, the trace %s", durable, a.durable())
		}
		if err := j.Append(transaction(3 * (n + 3))[0]); err != nil {
			t.Fatal(err)
		}
		if err := j.Discard(); err != nil {
			t.Fatal(err)
		}
	}
	if a.events["append"] != 40 || a.events[tracefs.Created] < 3 || a.events[tracefs.Truncating] == 0 {
		t.Errorf("events %v", a.events)
	}
	// The next process finds what this one left.
	if err := j.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, tracefs.New(disk, a.file), a.config())
	if len(a.opened) != 2 || a.opened[0] != start || a.opened[1] != end(40) {
		t.Errorf("opened at %v", a.opened)
	}
}

// TestTraceFails: what cannot be traced is not published.
func TestTraceFails(t *testing.T) {
	a := newAuditor()
	j, b := mustOpen(t, crashfs.New(), func() journal.Config {
		cfg := a.config()
		a.events[tracefs.Synced], a.events[tracefs.SyncedDir] = 1, 1
		return cfg
	}())
	mustAdd(t, j, 1, 1)
	mustAwait(t, j, b, 1)
	a.mu.Lock()
	a.err = errors.New("trace is full")
	a.mu.Unlock()
	if err := add(j, 2, 2); !errors.Is(err, journal.ErrBroken) || !errors.Is(err, a.err) {
		t.Errorf("append gives %v", err)
	}
	if durable, _ := j.Durable(); durable != end(1) {
		t.Errorf("durable is %s", durable)
	}
	if _, _, err := open(crashfs.New(), a.config()); !errors.Is(err, a.err) {
		t.Errorf("open gives %v", err)
	}
}
