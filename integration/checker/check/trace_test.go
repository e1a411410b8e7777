package check

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// traced numbers lines, and gives each start a process of its own. A line that begins with ! is written as it is.
func traced(events ...string) string {
	var b strings.Builder
	n := 0
	for _, e := range events {
		if raw, ok := strings.CutPrefix(e, "!"); ok {
			b.WriteString(raw)
			continue
		}
		if n++; strings.HasPrefix(e, "start") {
			n = 1
		}
		f := strings.Fields(e + " x x x")
		fmt.Fprintf(&b, `{"e":%q,"seq":%d,"t":"2026-01-02T15:04:05Z"`, f[0], n)
		switch f[0] {
		case "open", "append":
			fmt.Fprintf(&b, `,"end":"0/%s","file":%q,"size":%s`, f[1], f[2], f[3])
		case "ack":
			fmt.Fprintf(&b, `,"flush":"0/%s","apply":"0/%s"`, f[1], f[2])
		case "start":
		default:
			fmt.Fprintf(&b, `,"file":%q,"size":%s`, f[1], f[2])
		}
		b.WriteString("}\n")
	}
	return b.String()
}

func writeTrace(t *testing.T, text string) *Trace {
	t.Helper()
	c := &Trace{File: filepath.Join(t.TempDir(), "trace"), Log: slog.New(slog.DiscardHandler)}
	if err := os.WriteFile(c.File, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

// fresh is how a journal begins.
var fresh = []string{"start", "open 10 1.tms 0", "ack 10 10", "create 1.tms 0", "sync 1.tms 100", "syncdir journal 0"}

func TestTrace(t *testing.T) {
	for _, c := range []struct {
		name   string
		events []string
		want   string // nothing for a good one
	}{
		{"nothing happens", nil, ""},
		{"append, sync, ack", []string{"append 20 1.tms 200", "sync 1.tms 200", "ack 20 20", "ack 20 20"}, ""},
		{"one sync for two", []string{"append 20 1.tms 200", "append 30 1.tms 300", "sync 1.tms 350", "ack 20 10", "ack 30 20"}, ""},
		{"sync before its append is told", []string{"sync 1.tms 200", "append 20 1.tms 200", "ack 20 20"}, ""},
		{"next file", []string{"append 20 1.tms 200", "sync 1.tms 250", "create 2.tms 0", "sync 2.tms 50", "syncdir journal 0", "append 30 2.tms 99", "sync 2.tms 99", "ack 30 30"}, ""},
		{"discard", []string{"append 20 1.tms 200", "sync 1.tms 300", "truncate 1.tms 200", "ack 20 20"}, ""},
		{"cut what was not acknowledged", []string{"append 20 1.tms 200", "truncate 1.tms 100", "append 18 1.tms 150", "sync 1.tms 150", "ack 18 10"}, ""},
		{"retention", []string{"append 20 1.tms 200", "sync 1.tms 250", "create 2.tms 0", "sync 2.tms 50", "syncdir journal 0", "remove 1.tms 0", "syncdir journal 0", "ack 20 20"}, ""},
		{"killed", []string{"append 20 1.tms 200", "start", "sync 1.tms 200", "open 20 1.tms 200", "ack 20 10"}, ""},
		{"killed, tail lost", []string{"append 20 1.tms 200", "append 30 1.tms 300", "start", "truncate 1.tms 200", "sync 1.tms 200", "open 20 1.tms 200", "ack 20 10", "append 31 1.tms 310", "sync 1.tms 310", "ack 31 31"}, ""},
		{"killed after an ack", []string{"append 20 1.tms 200", "sync 1.tms 200", "ack 20 20", "start", "sync 1.tms 200", "open 20 1.tms 200", "ack 20 10"}, ""},
		{"killed before it was open", []string{"start", "start", "open 10 1.tms 100", "ack 10 10"}, ""},
		{"killed before it told", []string{"append 20 1.tms 200", "start", "sync 1.tms 300", "open 30 1.tms 300", "ack 30 10"}, ""},
		{"killed before it cut", []string{"append 20 1.tms 200", "append 30 1.tms 300", "truncate 1.tms 200", "start", "sync 1.tms 300", "open 30 1.tms 300", "ack 30 10"}, ""},
		{"torn line", []string{`!{"e":"app` + "\n", "start", "open 10 1.tms 100"}, ""},
		{"unfinished line", []string{`!{"e":"ack`}, ""},

		{"on receipt", []string{"append 20 1.tms 200", "ack 20 10"}, "0/20, at 200 in 1.tms, was not fsynced, only 100 bytes were"},
		{"before it is written", []string{"ack 20 10"}, "0/20 is acknowledged, where nothing ended"},
		{"synced too little", []string{"append 20 1.tms 200", "sync 1.tms 199", "ack 20 10"}, "was not fsynced"},
		{"other file synced", []string{"append 20 1.tms 200", "sync 2.tms 200", "ack 20 10"}, "was not fsynced"},
		{"one of two", []string{"append 20 1.tms 200", "sync 1.tms 200", "append 30 1.tms 300", "ack 30 10"}, "0/30 is acknowledged, but 0/30"},
		{"a hole before", []string{"append 20 1.tms 200", "create 2.tms 0", "append 30 2.tms 99", "sync 2.tms 99", "syncdir journal 0", "ack 30 10"}, "0/30 is acknowledged, but 0/20"},
		{"commit LSN", []string{"append 20 1.tms 200", "append 30 1.tms 300", "sync 1.tms 300", "ack 28 10"}, "0/28 is acknowledged, where nothing ended"},
		{"no name", []string{"create 2.tms 0", "append 20 2.tms 99", "sync 2.tms 99", "ack 20 10"}, "name was not fsynced"},
		{"never synced at all", []string{"append 20 2.tms 99", "ack 20 10"}, "never fsynced"},
		{"flush goes back", []string{"append 20 1.tms 200", "sync 1.tms 200", "ack 20 10", "ack 10 10"}, "flush goes back"},
		{"apply goes back", []string{"append 20 1.tms 200", "append 30 1.tms 300", "sync 1.tms 300", "ack 30 20", "ack 30 10"}, "apply goes back"},
		{"apply ahead", []string{"append 20 1.tms 200", "sync 1.tms 200", "ack 10 20"}, "apply is 0/20"},
		{"cut after an ack", []string{"append 20 1.tms 200", "sync 1.tms 200", "ack 20 10", "truncate 1.tms 199"}, "cut to 199 bytes, but 200 hold"},
		{"removed after an ack", []string{"append 20 1.tms 200", "sync 1.tms 200", "ack 20 10", "remove 1.tms 0"}, "the newest file"},
		{"recovered below", []string{"append 20 1.tms 200", "sync 1.tms 200", "ack 20 10", "start", "open 10 1.tms 100"}, "the journal ends at 0/10, 0/20 was acknowledged"},
		{"recovered between", []string{"append 20 1.tms 200", "start", "sync 1.tms 180", "open 18 1.tms 180"}, "0/18, where nothing ended"},
		{"more recovered without fsync", []string{"append 20 1.tms 200", "sync 1.tms 200", "start", "open 30 1.tms 300", "ack 30 10"}, "was not fsynced"},
		{"recovered without fsync", []string{"append 20 1.tms 200", "start", "open 20 1.tms 200", "ack 20 10"}, "was not fsynced"},
		{"fsync forgotten by a cut", []string{"append 20 1.tms 200", "sync 1.tms 200", "truncate 1.tms 100", "append 30 1.tms 180", "ack 30 10"}, "was not fsynced, only 100"},
		{"order", []string{"append 20 1.tms 200", "append 18 1.tms 300"}, "0/18 is appended behind 0/20"},
		{"before it is open", []string{"start", "ack 10 10"}, "before the journal is open"},
		{"append before it is open", []string{"start", "append 20 1.tms 200"}, "before the journal is open"},
		{"torn line in a process", []string{`!{"e":"app` + "\n", "ack 10 10"}, "the line before cannot be read"},
		{"two torn lines", []string{"!{\n{\n"}, "nor can the one before"},
		{"lines are missing", []string{`!{"e":"sync","seq":8,"file":"1.tms","size":1}` + "\n"}, "number 8 where 7 is due"},
		{"unknown", []string{"dance 1.tms 0"}, "no event"},
	} {
		trace := writeTrace(t, traced(append(fresh[:len(fresh):len(fresh)], c.events...)...))
		err := trace.Check()
		if c.want == "" && err != nil || c.want != "" && !violates(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if again := trace.Check(); again != err {
			t.Errorf("%s, again: %v", c.name, again)
		}
	}
}

// TestTraceGrows: each call takes up where the last one stopped, also within a line.
func TestTraceGrows(t *testing.T) {
	text := traced(append(fresh, "append 20 1.tms 200", "sync 1.tms 200", "ack 20 20", "append 30 1.tms 300", "ack 30 30")...)
	c := writeTrace(t, "")
	if err := os.Remove(c.File); err != nil {
		t.Fatal(err)
	}
	if err := c.Check(); err != nil {
		t.Errorf("without a file: %v", err)
	}
	for n := 0; n < len(text)-1; n += 7 {
		if err := os.WriteFile(c.File, []byte(text[:n]), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := c.Check(); err != nil {
			t.Fatalf("after %d bytes: %v", n, err)
		}
	}
	if c.Acknowledged() != 0x20 || c.Counts()["ack"] != 2 || c.Counts()["append"] != 2 {
		t.Errorf("acknowledged %s, %v", c.Acknowledged(), c.Counts())
	}
	if err := os.WriteFile(c.File, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Check(); !violates(err, "0/30 is acknowledged") {
		t.Errorf("the last line: %v", err)
	}
}

// testTrace reads what the program itself wrote, and then without its fsyncs.
func (a *archived) testTrace(t *testing.T) {
	c := &Trace{File: a.trace, Log: slog.New(slog.DiscardHandler)}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	t.Logf("up to %s: %v", c.Acknowledged(), c.Counts())
	if n := c.Counts(); n["ack"] < 10 || n["sync"] < 10 || n["append"] < 100 || n["open"] != 2 {
		t.Errorf("counts are %v", n)
	}
	if c.Acknowledged() != a.confirmed {
		t.Errorf("acknowledged %s, the slot says %s", c.Acknowledged(), a.confirmed)
	}
	b, err := os.ReadFile(a.trace)
	if err != nil {
		t.Fatal(err)
	}
	for verb, want := range map[string]string{"sync": "fsynced", "syncdir": "name was not fsynced", "append": "where nothing ended"} {
		n := 0
		text := strings.ReplaceAll(string(b), fmt.Sprintf(`{"e":%q,`, verb), `{"e":"skip",`)
		lines := strings.SplitAfter(text, "\n")
		kept := lines[:0]
		for _, line := range lines {
			if strings.HasPrefix(line, `{"e":"start"`) {
				n = 0
			}
			if line != "" && !strings.HasPrefix(line, `{"e":"skip"`) {
				n++
				before, after, _ := strings.Cut(line, `"seq":`)
				kept = append(kept, fmt.Sprintf(`%s"seq":%d%s`, before, n, after[strings.IndexByte(after, ','):]))
			}
		}
		if err := writeTrace(t, strings.Join(kept, "")).Check(); !violates(err, want) {
			t.Errorf("without %s: %v", verb, err)
		}
	}
}
