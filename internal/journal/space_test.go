package journal_test

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"tidemark/internal/journal"
	"tidemark/internal/segment"
	"tidemark/internal/vfs/crashfs"
)

func TestMaxSize(t *testing.T) {
	fs := crashfs.New()
	cfg := small()
	cfg.MaxSize = 8 << 10
	j, b := mustOpen(t, fs, cfg)
	n, full := 1, false
	for ; !full; n++ {
		for _, a := range transaction(n) {
			if err := j.Append(a); journal.IsFull(err) {
				full = true
				// What every sink has goes in spite of its age, and the same part is welcome again.
				if err := j.Retain(end(n-1), time.Now()); err != nil {
					t.Fatal(err)
				}
				err = j.Append(a)
				if err != nil {
					t.Fatal(err)
				}
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
	if j.Bytes() > cfg.MaxSize {
		t.Errorf("%d bytes", j.Bytes())
	}
	mustAwait(t, j, b, n-1)
	oldest := int(j.Oldest()-start) / 0x10
	if last, err := content(j, oldest, notReady); err != nil || last != n-1 {
		t.Errorf("up to %d, want %d, %v", last, n-1, err)
	}
}

// A tail that fills the journal alone is sealed, and goes when every sink has it.
func TestFullOfOneSegment(t *testing.T) {
	cfg := small()
	cfg.MaxSize = 2 << 10
	j, b := mustOpen(t, crashfs.New(), cfg)
	big := transaction(1)[0]
	big.Frame.Payload = segment.AppendMessage(nil, make([]byte, cfg.MaxSize-j.Bytes()-400))
	big.Frame.Count, big.Frame.Meta = 1, []segment.Rows{{Relation: 11, Inserts: 1}}
	if err := j.Append(big); err != nil {
		t.Fatal(err)
	}
	mustAwait(t, j, b, 1)
	if err := add(j, 2, 3); !journal.IsFull(err) {
		t.Fatalf("append: %v", err)
	}
	if err := j.Retain(end(1), time.Now()); err != nil {
		t.Fatal(err)
	}
	mustAdd(t, j, 2, 3)
}

// A transaction that can never fit is named.
func TestTransactionLargerThanJournal(t *testing.T) {
	cfg := small()
	cfg.MaxSize = 2 << 10
	j, _ := mustOpen(t, crashfs.New(), cfg)
	part := transaction(3)[0]
	var err error
	for n := uint32(0); err == nil; n++ {
		part.Frame.Number, part.Frame.First, part.Frame.Ordinal = n, n == 0, n*part.Frame.Count
		err = j.Append(part)
	}
	if !journal.IsFull(err) || !strings.Contains(err.Error(), "raise journal.max_size") {
		t.Errorf("append: %v", err)
	}
}

// A full disk makes Retention give way, until there is room.
func TestRetainOnFullDisk(t *testing.T) {
	fs := crashfs.New()
	j, b := mustOpen(t, fs, small())
	mustAdd(t, j, 1, 30)
	mustAwait(t, j, b, 30)
	retain := func() int {
		t.Helper()
		if err := j.Retain(end(60), time.Now()); err != nil {
			t.Fatal(err)
		}
		return len(j.Segments())
	}
	all := retain()
	fs.Inject(crashfs.Fault{Op: crashfs.Write, Nth: 1, Err: syscall.ENOSPC})
	if err := add(j, 31, 31); !journal.IsFull(err) {
		t.Fatalf("append: %v", err)
	}
	if n := retain(); n != 1 || all < 3 {
		t.Errorf("%d of %d segments left on a full disk", n, all)
	}
	mustAdd(t, j, 31, 60)
	mustAwait(t, j, b, 60)
	if all, n := len(j.Segments()), retain(); n != all || n < 3 {
		t.Errorf("%d of %d segments left once there is room", n, all)
	}
}

// With the disk full at any write, an Append repeated until there is room gives the same journal.
func TestNoSpace(t *testing.T) {
	for _, op := range []crashfs.Op{crashfs.Write, crashfs.Create} {
		for nth := 1; nth < 70; nth++ {
			for _, partial := range []int{0, 13, 100} {
				fs := crashfs.New()
				j, b, err := open(fs, small())
				if err != nil {
					t.Fatal(err)
				}
				fs.Inject(crashfs.Fault{Op: op, Nth: nth, Err: syscall.ENOSPC, Partial: partial})
				for n := 1; n <= 25; n++ {
					for _, a := range transaction(n) {
						err := j.Append(a)
						if journal.IsFull(err) {
							err = j.Append(a)
						}
						if err != nil {
							t.Fatalf("%s %d: %v", op, nth, err)
						}
					}
				}
				mustAwait(t, j, b, 25)
				if last, err := content(j, 0, notReady); err != nil || last != 25 {
					t.Errorf("%s %d: up to %d, %v", op, nth, last, err)
				}
				if err := j.Close(context.Background()); err != nil {
					t.Fatal(err)
				}
				if err := verify(fs); err != nil {
					t.Errorf("%s %d: %v", op, nth, err)
				}
			}
		}
	}
}
