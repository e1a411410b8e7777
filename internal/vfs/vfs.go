package vfs

import (
	"errors"
	"io"
)

// ErrLocked says that another process holds the lock of a directory.
var ErrLocked = errors.New("directory is locked by another process")

// File is an open file. Reads and writes are at a place; a write behind the end extends the file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Durable
}

// Durable is what a file can do beyond reading and writing.
type Durable interface {
	// Sync makes the bytes and the size durable.
	Sync() error
	// Truncate sets the size; durable after the next Sync.
	Truncate(size int64) error
	// Size returns the current size in bytes.
	Size() (int64, error)
}

// Evicter is a File that can forget clean cached bytes, so that the next read comes from the disk. After a failed Sync
// the cache may hold bytes that the disk never took.
type Evicter interface {
	Evict() error
}

// FS opens and lists files in directories. A file that was removed stays readable for those who have it open. All
// methods may be called at any time from any goroutine.
type FS interface {
	// Open opens a file for reading and writing; with create it must not exist yet. A file that may only be read
	// is opened for reading. Errors are fs.ErrNotExist, fs.ErrExist and fs.ErrPermission where those apply.
	Open(name string, create bool) (File, error)
	// Remove unlinks a file; durable after SyncDir.
	Remove(name string) error
	// Names returns the names of the files in a directory, sorted.
	Names(dir string) ([]string, error)
	Directories
}

// Directories is what an FS can do with directories themselves.
type Directories interface {
	// SyncDir makes created and removed names of a directory durable.
	SyncDir(dir string) error
	// MakeDir creates a directory, durably, and those above it. One that exists is no error.
	MakeDir(dir string) error
	// Lock takes the directory's only lock until the Closer is closed or the process ends. It does not wait: a lock
	// held elsewhere is ErrLocked.
	Lock(dir string) (io.Closer, error)
}
