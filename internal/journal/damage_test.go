package journal_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"tidemark/internal/journal"
	"tidemark/internal/segment"
	"tidemark/internal/vfs/crashfs"
)

func isCorrupt(err error) bool {
	var c *segment.CorruptionError
	return errors.As(err, &c)
}

// built makes a closed journal of n transactions, each durable before the next is written.
func built(t *testing.T, cfg journal.Config, n int) (*crashfs.FS, []journal.Info) {
	t.Helper()
	fs := crashfs.New()
	j, b := mustOpen(t, fs, cfg)
	for i := 1; i <= n; i++ {
		mustAdd(t, j, i, i)
		mustAwait(t, j, b, i)
	}
	if err := j.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	return fs, j.Segments()
}

// A flipped bit anywhere in a sealed segment is found: at the ends by Open, everywhere by Verify and by who reads it.
func TestDamagedSealedSegment(t *testing.T) {
	fs, all := built(t, small(), 16)
	if len(all) < 3 {
		t.Fatalf("%d segments", len(all))
	}
	for _, info := range all[:2] {
		name := filepath.Join(dir, info.Name)
		good := fs.Content(name)
		for i := range good {
			bent := append([]byte(nil), good...)
			bent[i] ^= 1 << (i % 8)
			fs.SetContent(name, bent)
			if err := verify(fs); !isCorrupt(err) {
				t.Fatalf("%s byte %d: verify says %v", info.Name, i, err)
			}
			j, _, err := open(fs, small())
			if err == nil {
				_, err = content(j, 0, notReady)
				_ = j.Close(context.Background())
			}
			if !isCorrupt(err) {
				t.Fatalf("%s byte %d: %v", info.Name, i, err)
			}
			if string(fs.Content(name)) != string(bent) {
				t.Fatalf("%s byte %d: the damaged file was changed", info.Name, i)
			}
		}
		fs.SetContent(name, good)
	}
}

// A flipped bit in the tail is refused where a later frame proves that the place had been fsynced. Behind that, it is as if torn.
func TestDamagedTail(t *testing.T) {
	cfg := small()
	cfg.SegmentSize = 1 << 19
	const n = 8
	fs, all := built(t, cfg, n-1)
	name := filepath.Join(dir, all[0].Name)
	known := len(fs.Content(name)) // the last transaction's frames say so
	j, b, err := open(fs, cfg)
	if err != nil {
		t.Fatal(err)
	}
	mustAdd(t, j, n, n)
	mustAwait(t, j, b, n)
	if err := j.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	good := fs.Content(name)
	for i := range good {
		bent := append([]byte(nil), good...)
		bent[i] ^= 1 << (i % 8)
		fs.SetContent(name, bent)
		j, _, err := open(fs, cfg)
		if i < known {
			if !isCorrupt(err) || string(fs.Content(name)) != string(bent) {
				t.Fatalf("byte %d of %d fsynced ones: %v", i, known, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("byte %d: %v", i, err)
		}
		if j.End() != end(n-1) {
			t.Fatalf("byte %d: opened at %s", i, j.End())
		}
		_ = j.Close(context.Background())
	}
}

func TestMissingAndSwapped(t *testing.T) {
	for what, bend := range map[string]func(fs *crashfs.FS, names []string) error{
		"missing": func(fs *crashfs.FS, names []string) error { return fs.Remove(names[1]) },
		"swapped": func(fs *crashfs.FS, names []string) error { fs.SetContent(names[1], fs.Content(names[2])); return nil },
		"not sealed": func(fs *crashfs.FS, names []string) error {
			b := fs.Content(names[1])
			fs.SetContent(names[1], b[:len(b)-8])
			return nil
		},
		"longer": func(fs *crashfs.FS, names []string) error {
			fs.SetContent(names[1], append(fs.Content(names[1]), make([]byte, 8)...))
			return nil
		},
		"header of the tail": func(fs *crashfs.FS, names []string) error {
			b := fs.Content(names[len(names)-1])
			b[20] ^= 1
			fs.SetContent(names[len(names)-1], b)
			return nil
		},
	} {
		fs, all := built(t, small(), 17)
		var names []string
		for _, i := range all {
			names = append(names, filepath.Join(dir, i.Name))
		}
		if err := bend(fs, names); err != nil {
			t.Fatal(err)
		}
		if _, _, err := open(fs, small()); !isCorrupt(err) {
			t.Errorf("%s: open says %v", what, err)
		}
		if err := verify(fs); !isCorrupt(err) {
			t.Errorf("%s: verify says %v", what, err)
		}
	}
}

// A segment that is good in itself but was written by another journal breaks the chain of digests.
func TestChain(t *testing.T) {
	fs, all := built(t, small(), 16)
	other, _ := built(t, small(), 16)
	name := filepath.Join(dir, all[1].Name)
	fs.SetContent(name, other.Content(name))
	if err := verify(fs); !isCorrupt(err) {
		t.Errorf("verify says %v", err)
	}
}

// A last segment of which nothing but a part of the header exists is made again; a foreign file is left alone.
func TestUnborn(t *testing.T) {
	fs, all := built(t, small(), 17)
	foreign := filepath.Join(dir, "notes.txt")
	if _, err := fs.Open(foreign, true); err != nil {
		t.Fatal(err)
	}
	last := all[len(all)-1]
	name := filepath.Join(dir, last.Name)
	good := fs.Content(name)
	for _, n := range []int{0, 5, 16, 100} {
		fs.SetContent(name, good[:n])
		v, err := journal.OpenReadOnly(fs, dir)
		if err != nil || v.End() != last.After {
			t.Fatalf("%d bytes: view: %v", n, err)
		}
		j, _, err := open(fs, small())
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if j.End() != last.After {
			t.Errorf("%d bytes: opened at %s, want %s", n, j.End(), last.After)
		}
		if err := add(j, number(last.After)+1, number(last.After)+3); err != nil {
			t.Fatal(err)
		}
		if err := j.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := verify(fs); err != nil {
			t.Error(err)
		}
	}
	if _, err := fs.Open(foreign, false); err != nil {
		t.Errorf("a foreign file: %v", err)
	}
}
