package tracefs

import (
	"path/filepath"
	"sync/atomic"

	"tidemark/internal/vfs"
)

// Events that are recorded. Synced, SyncedDir and Created come after the call returned without error; Truncating and Removing
// come before it, whatever becomes of it.
const (
	Synced     = "sync"     // size is the extent of what was written before Sync was called
	SyncedDir  = "syncdir"  // the file is the directory
	Created    = "create"   // empty
	Truncating = "truncate" // to size
	Removing   = "remove"
)

// Record takes an event, the base name of a file, and a size in bytes (0 where it has no meaning). It is called from any
// goroutine. Its error becomes that of the call.
type Record func(event, file string, size int64) error

// FS is another FS with a record. New makes one.
type FS struct {
	vfs.FS
	record Record
}

// New tells record what is done in inner.
func New(inner vfs.FS, record Record) *FS { return &FS{FS: inner, record: record} }

// Open opens a file; see vfs.FS.
func (fs *FS) Open(name string, create bool) (vfs.File, error) {
	inner, err := fs.FS.Open(name, create)
	if err != nil {
		return nil, err
	}
	f := &file{File: inner, name: filepath.Base(name), record: fs.record}
	if create {
		err = fs.record(Created, f.name, 0)
	} else {
		var size int64
		size, err = inner.Size()
		f.extent.Store(size)
	}
	if err != nil {
		_ = inner.Close() // nothing was written
		return nil, err
	}
	return f, nil
}

// Remove unlinks a file; see vfs.FS.
func (fs *FS) Remove(name string) error {
	if err := fs.record(Removing, filepath.Base(name), 0); err != nil {
		return err
	}
	return fs.FS.Remove(name)
}

// SyncDir fsyncs a directory; see vfs.FS.
func (fs *FS) SyncDir(dir string) error {
	if err := fs.FS.SyncDir(dir); err != nil {
		return err
	}
	return fs.record(SyncedDir, filepath.Base(dir), 0)
}

type file struct {
	vfs.File
	name   string
	record Record
	extent atomic.Int64 // where the bytes end that were written by calls which have returned
}

// WriteAt writes; what it wrote counts once it returns.
func (f *file) WriteAt(p []byte, at int64) (int, error) {
	n, err := f.File.WriteAt(p, at)
	end := at + int64(n)
	for n > 0 {
		old := f.extent.Load()
		if end <= old || f.extent.CompareAndSwap(old, end) {
			break
		}
	}
	return n, err
}

// Sync fsyncs.
func (f *file) Sync() error {
	covered := f.extent.Load()
	if err := f.File.Sync(); err != nil {
		return err
	}
	return f.record(Synced, f.name, covered)
}

// Truncate sets the size.
func (f *file) Truncate(size int64) error {
	if err := f.record(Truncating, f.name, size); err != nil {
		return err
	}
	if err := f.File.Truncate(size); err != nil {
		return err
	}
	f.extent.Store(size)
	return nil
}

// Evict forgets cached bytes, where the file can.
func (f *file) Evict() error {
	if e, ok := f.File.(vfs.Evicter); ok {
		return e.Evict()
	}
	return nil
}
