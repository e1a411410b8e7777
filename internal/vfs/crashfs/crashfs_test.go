package crashfs_test

import (
	"errors"
	"slices"
	"testing"

	"tidemark/internal/vfs"
	"tidemark/internal/vfs/crashfs"
	"tidemark/internal/vfs/vfstest"
)

func TestConformance(t *testing.T) {
	vfstest.Run(t, func(*testing.T) (vfs.FS, string) { return crashfs.New(), "/" })
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, f *crashfs.FS, name, text string) vfs.File {
	t.Helper()
	file, err := f.Open(name, true)
	must(t, err)
	_, err = file.WriteAt([]byte(text), 0)
	must(t, err)
	return file
}

func TestCrashModes(t *testing.T) {
	for mode, want := range map[crashfs.Mode]string{
		{}:                             "synced",
		{Bytes: crashfs.Torn, N: 2}:    "syncNE",
		{Bytes: crashfs.Torn, N: 99}:   "syncNEW",
		{Bytes: crashfs.Zeros, N: 1}:   "syncN\x00\x00",
		{Bytes: crashfs.Hole, N: 1}:    "sync\x00EW",
		{Bytes: crashfs.Overlay, N: 1}: "syncNd",
		{Bytes: crashfs.Overlay, N: 3}: "syncNEW",
	} {
		f := crashfs.New()
		file := create(t, f, "/a", "synced")
		must(t, file.Sync())
		must(t, f.SyncDir("/"))
		must(t, file.Truncate(4))
		_, err := file.WriteAt([]byte("NEW"), 4)
		must(t, err)
		if f.Unsynced() != 3 {
			t.Errorf("%d bytes unsynced", f.Unsynced())
		}
		if got := string(f.Crash(mode).Content("/a")); got != want {
			t.Errorf("%+v leaves %q, want %q", mode, got, want)
		}
		if file.Sync() == nil {
			t.Error("the crashed file system goes on")
		}
	}
}

func TestNames(t *testing.T) {
	for names, want := range map[crashfs.Names][]string{
		crashfs.Before: {"old", "removed"}, crashfs.After: {"new", "old"}, crashfs.Mixed: {"old"},
	} {
		f := crashfs.New()
		create(t, f, "/old", "1")
		create(t, f, "/removed", "2")
		must(t, f.SyncDir("/"))
		must(t, create(t, f, "/new", "3").Sync())
		must(t, f.Remove("/removed"))
		left, err := f.Crash(crashfs.Mode{Names: names}).Names("/")
		must(t, err)
		if !slices.Equal(left, want) {
			t.Errorf("names %d: %q, want %q", names, left, want)
		}
		if left, err := f.Kill().Names("/"); err != nil || !slices.Equal(left, []string{"new", "old"}) {
			t.Errorf("after a kill: %q, %v", left, err)
		}
	}
}

func TestFaults(t *testing.T) {
	broken := errors.New("broken")
	f := crashfs.New()
	file := create(t, f, "/a", "")
	must(t, f.SyncDir("/"))
	f.Inject(crashfs.Fault{Op: crashfs.Write, Nth: 2, Err: broken, Partial: 2})
	_, err := file.WriteAt([]byte("one"), 0)
	must(t, err)
	if n, err := file.WriteAt([]byte("two"), 3); n != 2 || !errors.Is(err, broken) {
		t.Errorf("wrote %d, %v", n, err)
	}
	f.Inject(crashfs.Fault{Op: crashfs.Sync, Nth: 1, Err: broken, Persist: true})
	if err := file.Sync(); !errors.Is(err, broken) {
		t.Errorf("sync: %v", err)
	}
	_, err = file.WriteAt([]byte("lost"), 5)
	must(t, err)
	must(t, file.Sync())
	if got := string(f.Crash(crashfs.Mode{}).Content("/a")); got != "onetw" {
		t.Errorf("a second sync made durable %q", got)
	}
}

func TestHalt(t *testing.T) {
	f := crashfs.New()
	file := create(t, f, "/a", "1")
	f.Halt(f.Steps() + 1)
	must(t, file.Sync())
	if err := file.Sync(); !errors.Is(err, crashfs.ErrHalted) {
		t.Errorf("behind the halt: %v", err)
	}
}

// What was written while a Sync ran is not made durable by it; a kill loses nothing, and a crash after it what was never synced.
func TestPauseAndKill(t *testing.T) {
	f := crashfs.New()
	file := create(t, f, "/a", "1")
	must(t, f.SyncDir("/"))
	entered, resume := f.Pause()
	done := make(chan error)
	go func() { done <- file.Sync() }()
	<-entered
	_, err := file.WriteAt([]byte("2"), 1)
	must(t, err)
	resume()
	must(t, <-done)
	killed := f.Kill()
	if got := string(killed.Content("/a")); got != "12" {
		t.Errorf("after a kill: %q", got)
	}
	if got := string(killed.Crash(crashfs.Mode{}).Content("/a")); got != "1" {
		t.Errorf("after a crash: %q", got)
	}
}
