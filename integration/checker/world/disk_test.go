package world

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "disk")
	d, err := newDisk(dir, 8<<20)
	must(t, err)
	if d.Available() != (os.Geteuid() == 0 && mounted(t, dir)) {
		t.Fatalf("available is %v", d.Available())
	}
	file := filepath.Join(dir, "journal", "segment")
	must(t, os.Mkdir(filepath.Dir(file), 0o700))
	must(t, os.WriteFile(file, []byte("entries"), 0o600))
	if d.Available() {
		must(t, d.Fill(t.Context()))
		if err := os.WriteFile(filepath.Join(dir, "more"), make([]byte, 10), 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("writing to a full disk: %v", err)
		}
		must(t, os.Remove(filepath.Join(dir, "more")))
	} else if d.Fill(t.Context()) == nil {
		t.Error("the machine's disk was filled")
	}
	must(t, d.Free())
	must(t, d.Free())
	must(t, os.WriteFile(filepath.Join(dir, "more"), make([]byte, 1<<20), 0o600))
	// Somebody who looks at it does not keep it.
	f, err := os.Open(file)
	must(t, err)
	defer f.Close()
	must(t, d.close())
	must(t, d.close())
	if mounted(t, dir) {
		t.Error("it is still mounted")
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "entries" {
		t.Errorf("kept: %q, %v", text, err)
	}
}
