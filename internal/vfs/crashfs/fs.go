package crashfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"sync"

	"tidemark/internal/vfs"
)

// FS is a file system in memory. All methods may be called at any time from any goroutine.
type FS struct {
	mu     sync.Mutex
	dirs   map[string]*dir
	locked map[string]bool
	steps  int
	halt   int
	counts map[Op]int
	faults []*Fault
	pause  *pause
}

type dir struct {
	names  map[string]*node
	synced map[string]*node
}

// node is a file's content, which may have several names or none.
type node struct {
	data   []byte
	synced []byte
	rotten bool // a Sync failed: later ones do nothing
}

// New returns an empty file system with the directory "/".
func New() *FS {
	return &FS{dirs: map[string]*dir{"/": newDir()}, locked: map[string]bool{}, counts: map[Op]int{}, halt: -1}
}

func newDir() *dir { return &dir{names: map[string]*node{}, synced: map[string]*node{}} }

func failure(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }

// Open opens a file; see vfs.FS.
func (f *FS) Open(name string, create bool) (vfs.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if create {
		if _, err := f.step(Create, name); err != nil {
			return nil, err
		}
	} else if _, err := f.step(Open, name); err != nil {
		return nil, err
	}
	d := f.dirs[path.Dir(name)]
	if d == nil {
		return nil, failure("open", name, fs.ErrNotExist)
	}
	n := d.names[path.Base(name)]
	switch {
	case create && n != nil:
		return nil, failure("open", name, fs.ErrExist)
	case create:
		n = &node{}
		d.names[path.Base(name)] = n
	case n == nil:
		return nil, failure("open", name, fs.ErrNotExist)
	}
	return &file{fs: f, node: n, name: name}, nil
}

// Remove unlinks a file.
func (f *FS) Remove(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := f.step(Remove, name); err != nil {
		return err
	}
	d := f.dirs[path.Dir(name)]
	if d == nil || d.names[path.Base(name)] == nil {
		return failure("remove", name, fs.ErrNotExist)
	}
	delete(d.names, path.Base(name))
	return nil
}

// Names returns the names of the files in a directory, sorted.
func (f *FS) Names(name string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.dirs[path.Clean(name)]
	if d == nil {
		return nil, failure("list", name, fs.ErrNotExist)
	}
	return slices.Sorted(maps.Keys(d.names)), nil
}

// SyncDir makes the names of a directory durable.
func (f *FS) SyncDir(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.dirs[path.Clean(name)]
	if d == nil {
		return failure("sync", name, fs.ErrNotExist)
	}
	persist, err := f.step(SyncDir, name)
	if err == nil || persist {
		d.synced = maps.Clone(d.names)
	}
	return err
}

// MakeDir creates a directory with those above it. Directories are durable at once.
func (f *FS) MakeDir(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name = path.Clean(name); f.dirs[name] == nil; name = path.Dir(name) {
		if parent := f.dirs[path.Dir(name)]; parent != nil && parent.names[path.Base(name)] != nil {
			return failure("mkdir", name, fs.ErrExist)
		}
		f.dirs[name] = newDir()
	}
	return nil
}

// Lock takes the directory's lock.
func (f *FS) Lock(name string) (io.Closer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name = path.Clean(name)
	if f.dirs[name] == nil {
		return nil, failure("lock", name, fs.ErrNotExist)
	}
	if f.locked[name] {
		return nil, failure("lock", name, vfs.ErrLocked)
	}
	f.locked[name] = true
	return &lock{fs: f, name: name}, nil
}

type lock struct {
	fs   *FS
	name string
}

func (l *lock) Close() error {
	l.fs.mu.Lock()
	defer l.fs.mu.Unlock()
	delete(l.fs.locked, l.name)
	return nil
}

// file is an open file; f.fs.mu guards everything.
type file struct {
	fs     *FS
	node   *node
	name   string
	closed bool
}

func (f *file) use(op string) error {
	if f.closed {
		return failure(op, f.name, fs.ErrClosed)
	}
	return nil
}

// ReadAt reads what was written, synced or not.
func (f *file) ReadAt(p []byte, place int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.use("read"); err != nil {
		return 0, err
	}
	if place >= int64(len(f.node.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.node.data[place:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt writes; a Fault may let it write only a part.
func (f *file) WriteAt(p []byte, place int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.use("write"); err != nil {
		return 0, err
	}
	fault, err := f.fs.take(Write, f.name)
	if err != nil {
		if fault == nil {
			return 0, err
		}
		p = p[:min(len(p), fault.Partial)]
	}
	if end := int(place) + len(p); len(p) > 0 && end > len(f.node.data) {
		f.node.data = append(f.node.data, make([]byte, end-len(f.node.data))...)
	}
	if len(p) > 0 {
		copy(f.node.data[place:], p)
	}
	return len(p), err
}

// Sync makes durable what was written before it began.
func (f *file) Sync() error {
	f.fs.mu.Lock()
	written, wait := bytes.Clone(f.node.data), f.fs.pause
	f.fs.mu.Unlock()
	wait.wait()
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.use("sync"); err != nil {
		return err
	}
	persist, err := f.fs.step(Sync, f.name)
	if !f.node.rotten && (err == nil || persist) {
		f.node.synced = written
	}
	if err != nil && !errors.Is(err, ErrHalted) {
		f.node.rotten = true
	}
	return err
}

// Evict forgets what a failed Sync left in the cache, so that reads show what is really durable.
func (f *file) Evict() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.node.rotten {
		f.node.data, f.node.rotten = bytes.Clone(f.node.synced), false
	}
	return f.use("evict")
}

// Truncate sets the size.
func (f *file) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.use("truncate"); err != nil {
		return err
	}
	if _, err := f.fs.step(Truncate, f.name); err != nil {
		return err
	}
	if have := int64(len(f.node.data)); size < have {
		f.node.data = bytes.Clone(f.node.data[:size])
	} else {
		f.node.data = append(f.node.data, make([]byte, size-have)...)
	}
	return nil
}

// Size returns the current size.
func (f *file) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return int64(len(f.node.data)), f.use("stat")
}

// Close closes the file.
func (f *file) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	err := f.use("close")
	f.closed = true
	return err
}
