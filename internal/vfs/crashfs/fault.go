package crashfs

import (
	"errors"
	"sync"
)

// Op is an operation that can fail or be the last before a crash.
type Op string

// The operations that count as steps. Reading is none.
const (
	Open     Op = "open"
	Create   Op = "create"
	Write    Op = "write"
	Sync     Op = "sync"
	Truncate Op = "truncate"
	Remove   Op = "remove"
	SyncDir  Op = "sync directory"
)

// ErrHalted is what every step returns from the one at which the file system was told to halt.
var ErrHalted = errors.New("file system halted")

// Fault makes one operation fail.
type Fault struct {
	Op Op
	// Nth operation of this kind from now on, from 1.
	Nth int
	Err error
	// Persist lets a failing Sync or SyncDir do its work all the same.
	Persist bool
	// Partial is how many bytes a failing Write writes.
	Partial int
}

// Inject arranges a fault. Each strikes once.
func (f *FS) Inject(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fault.Nth += f.counts[fault.Op]
	f.faults = append(f.faults, &fault)
}

// Halt stops the file system before the given step, counted as Steps does: from there on every step fails.
func (f *FS) Halt(step int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.halt = step
}

// pause holds Syncs.
type pause struct {
	once    sync.Once
	entered chan struct{}
	over    chan struct{}
}

func (p *pause) wait() {
	if p == nil {
		return
	}
	p.once.Do(func() { close(p.entered) })
	<-p.over
}

// Pause lets every Sync of a file that begins from now on wait until resume is called, and then make durable what had been written
// when it began. entered is closed when the first one waits. A new Pause takes the place of the one before for Syncs that begin later.
func (f *FS) Pause() (entered <-chan struct{}, resume func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := &pause{entered: make(chan struct{}), over: make(chan struct{})}
	f.pause = p
	return p.entered, func() { close(p.over) }
}

// Steps is how many steps were taken so far.
func (f *FS) Steps() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.steps
}

// step counts a step. persist says that it takes effect although it fails.
func (f *FS) step(op Op, name string) (persist bool, err error) {
	fault, err := f.take(op, name)
	return fault != nil && fault.Persist, err
}

func (f *FS) take(op Op, name string) (*Fault, error) {
	if f.halt >= 0 && f.steps >= f.halt {
		return nil, failure(string(op), name, ErrHalted)
	}
	if op != Open {
		f.steps++
	}
	f.counts[op]++
	for i, fault := range f.faults {
		if fault.Op == op && fault.Nth == f.counts[op] {
			f.faults = append(f.faults[:i:i], f.faults[i+1:]...)
			return fault, failure(string(op), name, fault.Err)
		}
	}
	return nil, nil
}
