package world

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// Disk is what the journal lies on: a file system of its own, where the machine lets us mount one. All methods are for any
// goroutine.
type Disk struct {
	dir string

	mu      sync.Mutex
	mounted bool
}

const fillerName = "filler"

// newDisk mounts a file system at dir, which is made. Without the right to, dir is an ordinary directory.
func newDisk(dir string, size int64) (*Disk, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the journal's disk: %w", err)
	}
	err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, fmt.Sprintf("size=%d,mode=0700", size))
	return &Disk{dir: dir, mounted: err == nil}, nil
}

// Available says whether the disk can be filled.
func (d *Disk) Available() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mounted
}

// Dir is where the disk is, or the directory instead.
func (d *Disk) Dir() string { return d.dir }

// Fill leaves no byte free, until Free. Files that end within a page may still grow to the page's end.
func (d *Disk) Fill(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.mounted {
		return errors.New("fill the journal's disk: it has none of its own")
	}
	f, err := os.OpenFile(filepath.Join(d.dir, fillerName), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("fill the journal's disk: %w", err)
	}
	if err := errors.Join(fill(ctx, f), f.Close()); err != nil {
		return fmt.Errorf("fill the journal's disk: %w", err)
	}
	return nil
}

func fill(ctx context.Context, f *os.File) error {
	zeros := make([]byte, 1<<20)
	for n := len(zeros); n > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		_, err := f.Write(zeros[:n])
		switch {
		case errors.Is(err, unix.ENOSPC):
			n /= 2
		case err != nil:
			return err
		}
	}
	return nil
}

// Free takes back what Fill took.
func (d *Disk) Free() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := os.Remove(filepath.Join(d.dir, fillerName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("free the journal's disk: %w", err)
	}
	return nil
}

// close unmounts and leaves the files where they were, on the disk below.
func (d *Disk) close() error {
	err := d.Free()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.mounted {
		return err
	}
	kept := d.dir + ".kept"
	copied := os.CopyFS(kept, os.DirFS(d.dir))
	if unix.Unmount(d.dir, 0) != nil {
		// Somebody looks at it: it goes when he does.
		if e := unix.Unmount(d.dir, unix.MNT_DETACH); e != nil {
			return errors.Join(err, copied, fmt.Errorf("unmount %s: %w", d.dir, e))
		}
	}
	d.mounted = false
	if copied != nil {
		return errors.Join(err, fmt.Errorf("keep the journal: %w", copied))
	}
	return errors.Join(err, os.Remove(d.dir), os.Rename(kept, d.dir))
}
