package vfs

import (
	"io"
)

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

// FS opens and lists files in directories.
type FS interface {
	// Open opens a file for reading and writing; with create it must not exist yet.
	Open(name string, create bool) (File, error)
	// Remove unlinks a file; durable after SyncDir.
	Remove(name string) error
	// Names returns the names in a directory, sorted.
	Names(dir string) ([]string, error)
	// SyncDir makes created and removed names of a directory durable.
	SyncDir(dir string) error
}
