package check

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidemark/internal/position"

	"tidemark/integration/checker/fold"
)

func (a *archived) check(t *testing.T) *Journal {
	return &Journal{Command: a.command(t), Dir: a.journal, Timeline: a.timeline(t, nil), Log: slog.New(slog.DiscardHandler)}
}

func (a *archived) testJournal(t *testing.T) {
	c := a.check(t)
	if err := c.Check(t.Context(), a.confirmed); err != nil {
		t.Fatal(err)
	}
	published, changes := 0, 0
	for _, tx := range a.history {
		if tx.Published && tx.End <= c.checked && tx.End > a.began {
			published++
			changes += len(tx.Changes)
		}
	}
	if n := c.Counts(); n["transactions"] != published || n["changes"] != changes || published < 50 || n["checks"] != 1 {
		t.Errorf("checked are %v, there are %d transactions with %d changes", n, published, changes)
	}
	if err := c.Check(t.Context(), a.confirmed); err != nil || c.Counts()["transactions"] != published {
		t.Errorf("again: %v, %v", err, c.Counts())
	}
	c.Whole = true
	if err := c.Check(t.Context(), a.confirmed); err != nil || c.Counts()["transactions"] != 2*published {
		t.Errorf("the whole: %v, %v", err, c.Counts())
	}
	c.Dir = t.TempDir()
	if err := c.Check(t.Context(), a.confirmed); !violates(err, "no journal any more") {
		t.Errorf("without a journal: %v", err)
	}
	c = a.check(t)
	c.Dir = t.TempDir()
	var v *Violation
	if err := c.Check(t.Context(), a.confirmed); err == nil || errors.As(err, &v) {
		t.Errorf("before there is a journal: %v", err)
	}
}

func (a *archived) testWrongJournals(t *testing.T) {
	var middle fold.Transaction
	for _, tx := range a.history[:len(a.history)/2] {
		if len(tx.Changes) > 0 {
			middle = tx
		}
	}
	for want, change := range map[string]func(tx *fold.Transaction) bool{
		"is not in the reference log, or not published": func(tx *fold.Transaction) bool { return false },
		"not in the reference log, or not published":    func(tx *fold.Transaction) bool { tx.Published = false; return true },
		"its xid is":      func(tx *fold.Transaction) bool { tx.XID++; return true },
		"it committed at": func(tx *fold.Transaction) bool { tx.Commit = tx.Commit.Add(1000); return true },
		"came, the reference log says 1": func(tx *fold.Transaction) bool {
			tx.Changes = []fold.Change{{Op: fold.Truncate, Table: "s.keyed"}}
			return true
		},
		fmt.Sprintf("transaction %s (xid", middle.End-1):      func(tx *fold.Transaction) bool { tx.End--; return true },
		fmt.Sprintf("(xid %d) is not in the ref", middle.XID): func(tx *fold.Transaction) bool { tx.End++; return true },
	} {
		c := a.check(t)
		c.Timeline = a.timeline(t, func(tx *fold.Transaction, _ map[string]fold.Sum) bool { return tx.End != middle.End || change(tx) })
		if err := c.Check(t.Context(), a.confirmed); !violates(err, want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
	c := a.check(t)
	c.Timeline = fold.NewTimeline(archivedTables)
	if err := c.Timeline.Add(fold.Transaction{End: 1, Changes: middle.Changes}, nil); err != nil {
		t.Fatal(err)
	}
	c.Timeline.Cover(a.end)
	if err := c.Check(t.Context(), a.confirmed); !violates(err, "before the journal's beginning") {
		t.Errorf("before its beginning: %v", err)
	}
	if err := a.check(t).Check(t.Context(), a.end+1<<20); !violates(err, "was confirmed") {
		t.Errorf("behind its end: %v", err)
	}
	for want, damage := range map[string]func(b []byte) []byte{
		"was confirmed":  func(b []byte) []byte { return b[:len(b)/2] },
		"journal verify": func(b []byte) []byte { b[len(b)/3] ^= 1; return b },
	} {
		c := a.check(t)
		c.Dir = t.TempDir()
		if err := os.CopyFS(c.Dir, os.DirFS(a.journal)); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(c.Dir, "*.tms"))
		if err != nil || len(files) < 2 {
			t.Fatalf("segments are %v, %v", files, err)
		}
		file := files[len(files)-1]
		b, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(file, damage(b), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Check(t.Context(), a.confirmed); !violates(err, want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

// testDamagedJournals: every flipped bit is found, and a program that finds none is found itself.
func (a *archived) testDamagedJournals(t *testing.T) {
	c := a.check(t)
	c.Rand = newRand(rand.Uint64())
	for range 2 {
		if err := c.Check(t.Context(), a.confirmed); err != nil {
			t.Error(err)
		}
	}
	segments, err := c.verify(t.Context(), a.confirmed)
	if err != nil || len(segments) < 2 {
		t.Fatalf("segments are %v, %v", segments, err)
	}
	const more = 60
	for range more {
		if err := c.damaged(t.Context(), segments, a.confirmed); err != nil {
			t.Error(err)
		}
	}
	copies := func() []string {
		list, err := filepath.Glob(filepath.Join(filepath.Dir(a.journal), "damaged_*"))
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	if n := c.Counts()["flipped bits found"]; n != 2+more || len(copies()) > 0 {
		t.Errorf("%d flipped bits were found, left are %v", n, copies())
	}
	run, calls := c.Command, 0
	for name, says := range map[string]struct {
		codes [2]int
		want  string
	}{
		"nothing":   {[2]int{0, 0}, "journal verify exits 0, not 1, for a copy"},
		"crashes":   {[2]int{0, 2}, "journal verify exits 2, not 1, for a copy"},
		"all's bad": {[2]int{1, 1}, "journal verify exits 1 for a sound copy"},
	} {
		calls = 0
		c.Command = func(ctx context.Context, args ...string) (int, string, string, error) {
			if args[1] == "verify" && args[3] != a.journal {
				calls++
				return says.codes[calls-1], "[]", "", nil
			}
			return run(ctx, args...)
		}
		if err := c.Check(t.Context(), a.confirmed); !violates(err, says.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(copies()) != 3 {
		t.Errorf("kept are %v", copies())
	}
	for _, dir := range copies() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	}
}

func TestDump(t *testing.T) {
	line := func(lsn position.LSN, ordinal, xid int, tables string) string {
		return fmt.Sprintf(`{"lsn": "%s", "ordinal": %d, "xid": %d, "commit_time": "2026-03-01T12:00:00.123456Z", "op": "insert", "tables": [%s]}`+"\n", lsn, ordinal, xid, tables)
	}
	good := line(16, 0, 7, `"s.a"`) + line(16, 1, 7, `"s.a", "tidemark.heartbeat"`) + line(32, 0, 8, `"s.b"`)
	list, err := readDump(good)
	if err != nil || len(list) != 2 || list[0].counts[counted{"s.a", "insert"}] != 2 || len(list[0].application()) != 1 || list[1].rows != 1 {
		t.Errorf("read %+v, %v", list, err)
	}
	for text, want := range map[string]string{
		line(16, 0, 7, "") + line(16, 2, 7, ""):                    "change 2 of transaction 0/10 comes where 1 is due",
		line(16, 1, 7, ""):                                         "change 1 of transaction 0/10 comes where 0 is due",
		line(16, 0, 7, "") + line(16, 1, 8, ""):                    "another xid",
		line(32, 0, 7, "") + line(16, 0, 6, ""):                    "behind 0/20",
		line(16, 0, 7, "") + line(16, 0, 7, ""):                    "change 0 of transaction 0/10 comes where 1 is due",
		line(16, 0, 7, "") + line(16, 1, 7, "")[:30]:               "cannot be read",
		strings.Replace(line(16, 0, 7, ""), `"0/10"`, `"here"`, 1): "cannot be read",
	} {
		if _, err := readDump(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
