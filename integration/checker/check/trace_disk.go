package check

import (
	"fmt"

	"tidemark/internal/position"
)

// tracedDisk is what is known to be on the disk. It outlives processes: what was fsynced stays, and of what was not, a process that is killed
// leaves everything and a machine that crashes anything.
type tracedDisk struct {
	opened       bool // once at least
	files        map[string]*tracedFile
	pending      []mark // positions that were not acknowledged, in order
	acknowledged position.LSN
	newest       position.LSN // the last position that was appended or found
}

// tracedFile is a file of the journal.
type tracedFile struct {
	synced int64 // so many of its first bytes are durable
	named  bool  // its name is durable
	acked  int64 // so many of its first bytes hold what was acknowledged
}

// mark is a position in the journal, and where what ends there ends. Size is 0 where nothing needs to be written.
type mark struct {
	end  position.LSN
	file string
	size int64
}

func (d *tracedDisk) known(name string) *tracedFile {
	if d.files == nil {
		d.files = map[string]*tracedFile{}
	}
	f := d.files[name]
	if f == nil {
		f = &tracedFile{named: true} // it is from before the trace
		d.files[name] = f
	}
	return f
}

// open takes what recovery found: a position that was appended, or was the end before; at the very first time any. A process that was
// killed may have appended one more before it could tell.
func (d *tracedDisk) open(l traceLine) string {
	if l.End < d.acknowledged {
		return fmt.Sprintf("the journal ends at %s, %s was acknowledged", l.End, d.acknowledged)
	}
	n := 0
	for n < len(d.pending) && d.pending[n].end <= l.End {
		n++
	}
	exact := l.End == d.acknowledged || n > 0 && d.pending[n-1].end == l.End
	if d.opened && !exact && l.End < d.newest {
		return fmt.Sprintf("the journal ends at %s, where nothing ended", l.End)
	}
	d.pending, d.newest = d.pending[:n], l.End
	if !exact {
		d.pending = append(d.pending, mark{l.End, l.File, l.Size})
	}
	d.opened = true
	return ""
}

func (d *tracedDisk) append(l traceLine) string {
	if l.End <= d.newest {
		return fmt.Sprintf("%s is appended behind %s", l.End, d.newest)
	}
	d.newest = l.End
	d.pending = append(d.pending, mark{l.End, l.File, l.Size})
	return ""
}

// acknowledge makes sure that a position is one at which something ended, and that it and everything before it is durable.
func (d *tracedDisk) acknowledge(flush position.LSN) string {
	n := 0
	for ; n < len(d.pending) && d.pending[n].end <= flush; n++ {
		if why := d.volatile(d.pending[n]); why != "" {
			return fmt.Sprintf("%s is acknowledged, but %s, %s", flush, d.pending[n].end, why)
		}
	}
	if flush != d.acknowledged && (n == 0 || d.pending[n-1].end != flush) {
		return fmt.Sprintf("%s is acknowledged, where nothing ended", flush)
	}
	for _, m := range d.pending[:n] {
		if f := d.files[m.file]; f != nil {
			f.acked = max(f.acked, m.size)
		}
	}
	d.pending, d.acknowledged = d.pending[n:], max(d.acknowledged, flush)
	return ""
}

// volatile says why a position is not durable, or nothing.
func (d *tracedDisk) volatile(m mark) string {
	f := d.files[m.file]
	switch {
	case m.size == 0:
		return ""
	case f == nil:
		return fmt.Sprintf("at %d in %s, was never fsynced", m.size, m.file)
	case f.synced < m.size:
		return fmt.Sprintf("at %d in %s, was not fsynced, only %d bytes were", m.size, m.file, f.synced)
	case !f.named:
		return fmt.Sprintf("in %s, is in a file whose name was not fsynced", m.file)
	}
	return ""
}

// file takes what is done to files.
func (d *tracedDisk) file(l traceLine) string {
	switch l.Event {
	case "sync":
		f := d.known(l.File)
		f.synced = max(f.synced, l.Size)
	case "syncdir":
		for _, f := range d.files {
			f.named = true
		}
	case "create":
		*d.known(l.File) = tracedFile{}
	case "truncate":
		return d.truncate(l)
	case "remove":
		return d.remove(l.File)
	default:
		return fmt.Sprintf("there is no event %q", l.Event)
	}
	return ""
}

// truncate takes a cut. Nothing complete is ever cut but what was never acknowledged.
func (d *tracedDisk) truncate(l traceLine) string {
	f := d.known(l.File)
	if l.Size < f.acked {
		return fmt.Sprintf("%s is cut to %d bytes, but %d hold what was acknowledged", l.File, l.Size, f.acked)
	}
	f.synced = min(f.synced, l.Size)
	kept := d.pending[:0]
	for _, m := range d.pending {
		if m.file != l.File || m.size <= l.Size {
			kept = append(kept, m)
		}
	}
	d.pending = kept
	d.newest = d.acknowledged
	if n := len(kept); n > 0 {
		d.newest = kept[n-1].end
	}
	return ""
}

// remove takes an unlink. The newest file never goes, unless it holds nothing; an older one only when every reader is done with it.
func (d *tracedDisk) remove(name string) string {
	f, newest := d.known(name), true
	for other := range d.files {
		newest = newest && other <= name
	}
	if newest && f.acked > 0 {
		return fmt.Sprintf("%s is removed, the newest file, which holds what was acknowledged", name)
	}
	for i, m := range d.pending {
		if m.file == name && d.volatile(m) == "" {
			d.pending[i].size = 0
		}
	}
	delete(d.files, name)
	return ""
}
