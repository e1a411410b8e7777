package journal_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"tidemark/internal/journal"
	"tidemark/internal/position"
	"tidemark/internal/progress"
	"tidemark/internal/vfs/crashfs"
)

// work is everything that a journal does, until something fails: transactions of every shape, some awaited and some
// not, discards, seals, retention.
func work(j *journal.Journal, b *progress.Board, n int) error {
	for i := 1; i <= n; i++ {
		if err := add(j, i, i); err != nil {
			return err
		}
		if i%3 == 2 { // the next one has three parts
			for _, a := range transaction(i + 1)[:2] {
				if err := j.Append(a); err != nil {
					return err
				}
			}
			if err := j.Discard(); err != nil {
				return err
			}
		}
		if i%4 == 0 {
			if err := await(j, b, i); err != nil {
				return err
			}
		}
		if i%10 == 0 {
			if err := j.Retain(end(i-3), time.Now().Add(24*time.Hour)); err != nil {
				return err
			}
		}
	}
	return await(j, b, n)
}

// number of the transaction that ends at l.
func number(l position.LSN) int { return int(l-start) / 0x10 }

// examine opens what a crash left: nothing that was durable is missing, what is there is a prefix of what was
// appended, and it can be gone on with.
func examine(fs *crashfs.FS, durable position.LSN, attempted int) error {
	j, b, err := open(fs, small())
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer func() { _ = j.Close(context.Background()) }()
	if v, err := journal.OpenReadOnly(fs, dir); err != nil || v.Bytes() != j.Bytes() {
		return fmt.Errorf("the journal counts %d bytes, a view %v: %w", j.Bytes(), v, err)
	}
	last := number(j.End())
	if j.End() < durable || last > attempted {
		return fmt.Errorf("opened at transaction %d; %d was durable, %d were appended", last, number(durable), attempted)
	}
	if got, err := content(j, number(j.Oldest()), notReady); err != nil || got != last {
		return fmt.Errorf("content up to %d of %d: %w", got, last, err)
	}
	if err := verify(fs); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if err := add(j, last+1, last+5); err != nil {
		return fmt.Errorf("go on: %w", err)
	}
	if err := await(j, b, last+5); err != nil {
		return fmt.Errorf("go on: %w", err)
	}
	if got, err := content(j, number(j.Oldest()), notReady); err != nil || got != last+5 {
		return fmt.Errorf("went on to %d of %d: %w", got, last+5, err)
	}
	return verify(fs)
}

func modes() []crashfs.Mode {
	var all []crashfs.Mode
	for _, names := range []crashfs.Names{crashfs.Before, crashfs.After, crashfs.Mixed} {
		all = append(all, crashfs.Mode{Names: names})
		for _, bytes := range []crashfs.Bytes{crashfs.Torn, crashfs.Zeros, crashfs.Hole, crashfs.Overlay} {
			for _, n := range []int{0, 81, 1 << 20} { // TestTornAtEveryByte has the others
				if names == crashfs.Mixed && n != 81 {
					continue
				}
				all = append(all, crashfs.Mode{Bytes: bytes, N: n, Names: names})
			}
		}
	}
	return all
}

// A crash before every step of the work, leaving everything that a crash can leave.
func TestCrashAtEveryStep(t *testing.T) {
	const n = 24
	halted := true
	for step := 0; halted; step++ {
		fs := crashfs.New()
		fs.Halt(step)
		durable, attempted := start, 0
		j, b, err := open(fs, small())
		if err == nil {
			err = work(j, b, n)
			_ = j.Close(context.Background())
			m, _ := b.Get(progress.Journal)
			durable, attempted = m.Stored, n
		}
		halted = err != nil
		for _, mode := range modes() {
			if err := examine(fs.Crash(mode), durable, attempted); err != nil {
				t.Fatalf("step %d, %+v: %v", step, mode, err)
			}
		}
		if err := killed(fs.Kill(), durable, attempted); err != nil {
			t.Fatalf("step %d, killed: %v", step, err)
		}
	}
}

// killed opens what a process that died left in the cache: what it then says to be durable survives a crash.
func killed(fs *crashfs.FS, durable position.LSN, attempted int) error {
	j, b, err := open(fs, small())
	if err != nil {
		return err
	}
	m, _ := b.Get(progress.Journal)
	after := fs.Crash(crashfs.Mode{})
	_ = j.Close(context.Background())
	return examine(after, max(durable, m.Stored), attempted)
}

// What was written while an fsync ran is not called durable when it returns.
func TestFsyncCoversWhatWasBefore(t *testing.T) {
	fs := crashfs.New()
	j, b := mustOpen(t, fs, small())
	first, resumeFirst := fs.Pause()
	mustAdd(t, j, 1, 1)
	entered(t, first)
	mustAdd(t, j, 2, 2)
	second, resumeSecond := fs.Pause()
	resumeFirst()
	entered(t, second)
	mustAwait(t, j, b, 1)
	if durable, _ := j.Durable(); durable != end(1) {
		t.Errorf("durable is %s while the fsync of the second transaction runs", durable)
	}
	resumeSecond()
	mustAwait(t, j, b, 2)
}

func entered(t *testing.T, fsync <-chan struct{}) {
	t.Helper()
	select {
	case <-fsync:
	case <-time.After(20 * time.Second):
		t.Fatal("no fsync begins")
	}
}

// Parts that an fsync had taken to the disk are cut from the disk before Discard returns.
func TestDiscardIsDurable(t *testing.T) {
	fs := crashfs.New()
	j, b := mustOpen(t, fs, small())
	mustAdd(t, j, 1, 2)
	mustAwait(t, j, b, 2)
	name := dir + "/0000000000000001.tms"
	complete := len(fs.Content(name))
	for _, a := range transaction(3)[:2] {
		if err := j.Append(a); err != nil {
			t.Fatal(err)
		}
	}
	fs.SetContent(name, fs.Content(name)) // as an fsync does
	if err := j.Discard(); err != nil {
		t.Fatal(err)
	}
	if got := len(fs.Crash(crashfs.Mode{}).Content(name)); got != complete {
		t.Errorf("%d bytes are on the disk, the last transaction ends at %d", got, complete)
	}
}

// A crash before every step of recovering from a crash.
func TestCrashWhileRecovering(t *testing.T) {
	const n = 24
	halted := true
	for step := 1; halted; step += 3 {
		fs := crashfs.New()
		fs.Halt(step)
		durable, attempted := start, 0
		j, b, err := open(fs, small())
		if err == nil {
			err = work(j, b, n)
			_ = j.Close(context.Background())
			m, _ := b.Get(progress.Journal)
			durable, attempted = m.Stored, n
		}
		halted = err != nil
		for _, first := range []crashfs.Mode{{}, {Names: crashfs.After}, {Bytes: crashfs.Torn, N: 100, Names: crashfs.After}, {Bytes: crashfs.Hole, N: 100, Names: crashfs.After}} {
			left := fs.Crash(first)
			for again := 0; ; again++ {
				second := left.Crash(crashfs.Mode{Names: crashfs.After, Bytes: crashfs.Torn, N: 1 << 20}) // a copy
				second.Halt(again)
				j, _, err := open(second, small())
				if err == nil {
					_ = j.Close(context.Background())
					break
				}
				for _, mode := range []crashfs.Mode{{}, {Names: crashfs.After}, {Bytes: crashfs.Torn, N: 5, Names: crashfs.After}, {Bytes: crashfs.Overlay, N: 5, Names: crashfs.After}} {
					if err := examine(second.Crash(mode), durable, attempted); err != nil {
						t.Fatalf("step %d, %+v, then step %d, %+v: %v", step, first, again, mode, err)
					}
				}
			}
		}
	}
}

// Several transactions are written and not fsynced; the crash leaves any number of their bytes.
func TestTornAtEveryByte(t *testing.T) {
	const known, n = 3, 8
	fs := crashfs.New()
	cfg := small()
	cfg.SegmentSize = 1 << 20 // no seal
	cfg.MaxSize = 4 << 20
	j, b := mustOpen(t, fs, cfg)
	mustAdd(t, j, 1, known)
	mustAwait(t, j, b, known)
	_, resume := fs.Pause()
	defer resume()
	mustAdd(t, j, known+1, n)
	for _, a := range transaction(n + 1)[:2] {
		if err := j.Append(a); err != nil {
			t.Fatal(err)
		}
	}
	unsynced := fs.Unsynced()
	if unsynced < 1000 {
		t.Fatalf("only %d bytes are unsynced", unsynced)
	}
	for _, bytes := range []crashfs.Bytes{crashfs.Torn, crashfs.Zeros, crashfs.Hole} {
		before := known
		for cut := 0; cut <= unsynced; cut++ {
			after := fs.Crash(crashfs.Mode{Bytes: bytes, N: cut})
			k, _, err := open(after, cfg)
			if err != nil {
				t.Fatalf("kind %d at byte %d: %v", bytes, cut, err)
			}
			last := number(k.End())
			if got, err := content(k, 0, notReady); err != nil || got != last {
				t.Fatalf("kind %d at byte %d: content up to %d of %d, %v", bytes, cut, got, last, err)
			}
			if last < known || bytes != crashfs.Hole && last < before || bytes == crashfs.Hole && cut > 0 && last != known {
				t.Fatalf("kind %d at byte %d: opened at %d", bytes, cut, last)
			}
			before = last
			if err := add(k, last+1, last+2); err != nil {
				t.Fatal(err)
			}
			if err := k.Close(context.Background()); err != nil {
				t.Fatal(err)
			}
			if err := verify(after); err != nil {
				t.Fatalf("kind %d at byte %d: %v", bytes, cut, err)
			}
		}
		if bytes != crashfs.Hole && before != n {
			t.Errorf("kind %d: all bytes kept, opened at %d of %d", bytes, before, n)
		}
	}
}
