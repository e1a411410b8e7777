package tracefs_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"tidemark/internal/vfs"
	"tidemark/internal/vfs/crashfs"
	"tidemark/internal/vfs/tracefs"
	"tidemark/internal/vfs/vfstest"
)

func nothing(string, string, int64) error { return nil }

func TestConformance(t *testing.T) {
	vfstest.Run(t, func(t *testing.T) (vfs.FS, string) { return tracefs.New(vfs.OS{}, nothing), t.TempDir() })
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// diary keeps events as text.
type diary struct {
	lines []string
	err   error
}

func (d *diary) record(event, file string, size int64) error {
	d.lines = append(d.lines, fmt.Sprintf("%s %s %d", event, file, size))
	return d.err
}

func write(t *testing.T, f vfs.File, text string, at int64) {
	t.Helper()
	_, err := f.WriteAt([]byte(text), at)
	must(t, err)
}

func TestEvents(t *testing.T) {
	inner, d := crashfs.New(), &diary{}
	fs := tracefs.New(inner, d.record)
	f, err := fs.Open("/a", true)
	must(t, err)
	write(t, f, "123456", 0)
	write(t, f, "x", 1) // an extent does not shrink by a write
	must(t, f.Sync())
	must(t, fs.SyncDir("/"))
	write(t, f, "7", 6)
	must(t, f.Truncate(4))
	must(t, f.Sync())
	must(t, f.Close())
	f, err = fs.Open("/a", false)
	must(t, err)
	must(t, f.Sync()) // of what another process may have written
	lost := errors.New("input/output error")
	inner.Inject(crashfs.Fault{Op: crashfs.Sync, Nth: 1, Err: lost})
	if err := f.Sync(); !errors.Is(err, lost) {
		t.Errorf("fsync gives %v", err)
	}
	inner.Inject(crashfs.Fault{Op: crashfs.SyncDir, Nth: 1, Err: lost})
	if err := fs.SyncDir("/"); !errors.Is(err, lost) {
		t.Errorf("fsync of the directory gives %v", err)
	}
	must(t, f.Close())
	must(t, fs.Remove("/a"))
	want := []string{"create a 0", "sync a 6", "syncdir / 0", "truncate a 4", "sync a 4", "sync a 4", "remove a 0"}
	if !slices.Equal(d.lines, want) {
		t.Errorf("events %q, want %q", d.lines, want)
	}
}

// TestSyncCoversWhatWasWritten: bytes that are written while an fsync runs may have come too late for it.
func TestSyncCoversWhatWasWritten(t *testing.T) {
	inner, d := crashfs.New(), &diary{}
	f, err := tracefs.New(inner, d.record).Open("/a", true)
	must(t, err)
	write(t, f, "1234", 0)
	entered, release := inner.Pause()
	done := make(chan error)
	go func() { done <- f.Sync() }()
	<-entered
	write(t, f, "5678", 4)
	release()
	must(t, <-done)
	if want := []string{"create a 0", "sync a 4"}; !slices.Equal(d.lines, want) {
		t.Errorf("events %q, want %q", d.lines, want)
	}
}

// TestRecordFails: what cannot be recorded is not done, or is not said to be done.
func TestRecordFails(t *testing.T) {
	inner, d := crashfs.New(), &diary{}
	fs := tracefs.New(inner, d.record)
	f, err := fs.Open("/a", true)
	must(t, err)
	write(t, f, "1234", 0)
	d.err = errors.New("trace is full")
	_, created := fs.Open("/b", true)
	for what, err := range map[string]error{
		"create": created, "sync": f.Sync(), "sync directory": fs.SyncDir("/"), "truncate": f.Truncate(1), "remove": fs.Remove("/a"),
	} {
		if !errors.Is(err, d.err) {
			t.Errorf("%s gives %v", what, err)
		}
	}
	if got := string(inner.Content("/a")); got != "1234" {
		t.Errorf("the file holds %q", got)
	}
}
