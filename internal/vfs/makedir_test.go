package vfs

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Names become durable also when the directories exist already: who made them may have died before its fsync.
func TestMakeDirSyncs(t *testing.T) {
	root := t.TempDir()
	for name, c := range map[string]struct {
		exists string
		want   []string
	}{
		"nothing there": {"", []string{filepath.Dir(root), root, root + "/nothing there"}},
		"half there":    {"half there", []string{root, root + "/half there"}},
		"all there":     {"all there/journal", []string{root + "/all there"}},
	} {
		if err := os.MkdirAll(filepath.Join(root, c.exists), 0o700); err != nil {
			t.Fatal(err)
		}
		var synced []string
		err := makeDir(filepath.Join(root, name, "journal"), func(dir string) error {
			synced = append(synced, dir)
			return OS{}.SyncDir(dir)
		})
		if err != nil || !slices.Equal(synced, c.want) {
			t.Errorf("%s: fsynced %q, want %q; %v", name, synced, c.want, err)
		}
	}
}
