package daemon

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidemark/internal/position"
	"tidemark/internal/postgres/pgtest"
	"tidemark/internal/trace"
)

// TestTrace runs the service twice with a trace, and holds each acknowledgement against the fsyncs before it.
func TestTrace(t *testing.T) {
	r := newRig(t, 0)
	r.cfg.Sinks.Standby.URL, r.cfg.Sinks.NATS.Enabled, r.cfg.Sinks.Archive.Enabled = "", new(false), new(false)
	r.cfg.Journal.SegmentSize = 4 << 10
	name := filepath.Join(t.TempDir(), "trace")
	pgtest.Exec(t, r.source, "create table a(id int primary key, v text)")
	var seen position.LSN
	for run := range 2 {
		w, err := trace.Open(name, "test")
		if err != nil {
			t.Fatal(err)
		}
		r.trace = w
		r.start(t, run == 0)
		for range 20 {
			pgtest.Exec(t, r.source, "insert into a select coalesce(max(id), 0) + 1, repeat('x', 1000) from a")
		}
		seen = r.reach(t).Copies[0].Position
		r.end(t)
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	checkTrace(t, strings.TrimSpace(string(b)), seen)
}

type traceLine struct {
	E                 string
	Seq               uint64
	File              string
	Size              int64
	End, Flush, Apply position.LSN
}

// checkTrace wants acknowledgements up to seen.
func checkTrace(t *testing.T, text string, seen position.LSN) {
	t.Helper()
	waiting := map[string][]traceLine{}
	count := map[string]int{}
	var durable, acknowledged position.LSN
	var sequence uint64
	for line := range strings.Lines(text) {
		var l traceLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if l.E == "start" {
			sequence = 0
		}
		if sequence++; l.Seq != sequence {
			t.Fatalf("sequence %d, want %d", l.Seq, sequence)
		}
		count[l.E]++
		switch l.E {
		case "open":
			durable = max(durable, l.End)
		case "append":
			waiting[l.File] = append(waiting[l.File], l)
		case "sync":
			for _, a := range waiting[l.File] {
				if a.Size <= l.Size {
					durable = max(durable, a.End)
				}
			}
		case "ack":
			if l.Flush > durable || l.Apply > l.Flush || l.Flush < acknowledged {
				t.Fatalf("%s: durable %s, acknowledged before %s", line, durable, acknowledged)
			}
			acknowledged = l.Flush
		}
	}
	if acknowledged < seen || count["start"] != 2 || count["open"] != 2 || count["append"] < 40 || count["create"] < 4 || count["syncdir"] < 4 {
		t.Errorf("acknowledged %s of %s, lines %v", acknowledged, seen, count)
	}
}
