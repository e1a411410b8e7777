package crashfs

import (
	"bytes"
	"maps"
	"path"
	"slices"
)

// Bytes says what a crash leaves of a file's unsynced bytes.
type Bytes int

// What can be left. N counts bytes from the first one that differs from the synced state.
const (
	// Lost: exactly the synced content.
	Lost Bytes = iota
	// Torn: the first N bytes, and the file ends there.
	Torn
	// Zeros: the first N bytes, and zeros up to the size that was written.
	Zeros
	// Hole: zeros instead of the first N bytes, and everything behind them.
	Hole
	// Overlay: the first N bytes over the synced content: a truncation was lost, the writing behind it was not.
	Overlay
)

// Mode says what a crash leaves.
type Mode struct {
	Bytes Bytes
	N     int
	Names Names
}

// Names says what a crash leaves of names that were created or removed and not synced.
type Names int

// What can be left of unsynced names.
const (
	// Before: all as they were synced.
	Before Names = iota
	// After: all as they were at last.
	After
	// Mixed: in the order of the names, every second change is lost, the first one as well.
	Mixed
)

// Crash returns a new file system with what the mode says is left of this one, everything in it durable and unlocked.
// This one halts.
func (f *FS) Crash(m Mode) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.halt = f.steps
	after := New()
	for name, d := range f.dirs {
		left := newDir()
		for base, n := range m.names(d) {
			data := m.content(n)
			left.names[base] = &node{data: data, synced: bytes.Clone(data)}
		}
		left.synced = maps.Clone(left.names)
		after.dirs[name] = left
	}
	return after
}

func (m Mode) names(d *dir) map[string]*node {
	switch m.Names {
	case Before:
		return d.synced
	case After:
		return d.names
	}
	both := maps.Clone(d.synced)
	maps.Copy(both, d.names)
	changes := 0
	for _, base := range slices.Sorted(maps.Keys(both)) {
		was, is := d.synced[base], d.names[base]
		if was == is {
			continue
		}
		if changes%2 == 0 {
			is = was
		}
		changes++
		both[base] = is
		if is == nil {
			delete(both, base)
		}
	}
	return both
}

// Kill returns the file system as the next process finds it when one has died and the machine has not: everything that
// was written is there, synced or not, and unlocked. This one halts.
func (f *FS) Kill() *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.halt = f.steps
	next := New()
	copies := map[*node]*node{}
	copied := func(names map[string]*node) map[string]*node {
		out := map[string]*node{}
		for base, n := range names {
			if copies[n] == nil {
				copies[n] = &node{data: bytes.Clone(n.data), synced: bytes.Clone(n.synced), rotten: n.rotten}
			}
			out[base] = copies[n]
		}
		return out
	}
	for name, d := range f.dirs {
		next.dirs[name] = &dir{names: copied(d.names), synced: copied(d.synced)}
	}
	return next
}

func (m Mode) content(n *node) []byte {
	same := 0
	for same < min(len(n.data), len(n.synced)) && n.data[same] == n.synced[same] {
		same++
	}
	if m.Bytes == Lost || same == len(n.data) && same == len(n.synced) {
		return bytes.Clone(n.synced)
	}
	kept := min(len(n.data), same+m.N)
	left := bytes.Clone(n.data)
	switch m.Bytes {
	case Torn:
		return left[:kept]
	case Zeros:
		clear(left[kept:])
	case Hole:
		clear(left[same:kept])
	case Overlay:
		left = left[:kept]
		if kept < len(n.synced) {
			left = append(left, n.synced[kept:]...)
		}
	}
	return left
}

// Unsynced is the largest number of bytes that any file holds behind what it has in common with its synced state.
func (f *FS) Unsynced() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	most := 0
	for _, d := range f.dirs {
		for _, n := range d.names {
			same := 0
			for same < min(len(n.data), len(n.synced)) && n.data[same] == n.synced[same] {
				same++
			}
			most = max(most, len(n.data)-same)
		}
	}
	return most
}

// Content returns a file's content as it is now, nil if there is none.
func (f *FS) Content(name string) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	if d := f.dirs[path.Dir(name)]; d != nil && d.names[path.Base(name)] != nil {
		return bytes.Clone(d.names[path.Base(name)].data)
	}
	return nil
}

// SetContent replaces a file's content, durably, as damage on the disk does.
func (f *FS) SetContent(name string, data []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if d := f.dirs[path.Dir(name)]; d != nil && d.names[path.Base(name)] != nil {
		n := d.names[path.Base(name)]
		n.data, n.synced = bytes.Clone(data), bytes.Clone(data)
	}
}
