package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"

	"tidemark/internal/position"
	"tidemark/internal/progress"
	"tidemark/internal/segment"
	"tidemark/internal/vfs"
)

// Journal is an open journal. One goroutine, capture's, calls Append and Discard; everything else may be called at any
// time from any goroutine.
type Journal struct {
	*shelf
	cfg     Config
	id      Identity
	board   *progress.Board
	metrics metrics
	log     *slog.Logger
	lock    io.Closer

	// Locks are taken in this order: writing, syncing, shelf.mu.

	writing sync.Mutex     // held by Append, Discard and what they call; guards the fields down to the blank line
	tail    *tail          // nil between a seal and the creation of the next segment
	chain   segment.Digest // of the newest sealed segment; what the next header names
	reseal  bool           // the tail's header says something of the source that is no longer true

	syncing sync.Mutex // held during an fsync, and while the tail is exchanged
	file    vfs.File   // the tail's, for the syncer; changed with syncing and shelf.mu held

	written   mark // guarded by shelf.mu
	closing   bool // guarded by shelf.mu
	retaining sync.Mutex
	full      atomic.Bool // the last Append found no room

	wake    chan struct{}
	stop    chan struct{}
	stopped chan struct{}
	failed  chan struct{}
	closed  chan struct{}
}

// tail writes to the newest segment at its end.
type tail struct {
	file vfs.File
	at   int64
	w    *segment.Writer
}

// Write writes at the end.
func (t *tail) Write(p []byte) (int, error) {
	n, err := t.file.WriteAt(p, t.at)
	t.at += int64(n)
	return n, err
}

// Identity is whose changes the journal holds.
func (j *Journal) Identity() Identity { return j.id }

// End is the end LSN of the last complete transaction that was written, durable or not, or where the journal began.
func (j *Journal) End() position.LSN {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.written.end
}

// Failed is closed when the journal breaks; Err then says why.
func (j *Journal) Failed() <-chan struct{} { return j.failed }

// Err says why the journal is broken or closed, nil while it works.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}

// resize notes a segment's size and what it adds to the whole. The caller holds mu.
func (j *Journal) resize(h *held, size int64) {
	j.account(size - h.size)
	h.size = size
}

func (j *Journal) account(more int64) {
	j.total += more
	j.metrics.bytes.Set(float64(j.total))
}

// fail breaks the journal for good and returns the error that every call gives from now on.
func (j *Journal) fail(cause error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if errors.Is(j.err, ErrBroken) {
		return j.err
	}
	j.err = fmt.Errorf("%w: %w", ErrBroken, cause)
	close(j.failed)
	j.announce()
	return j.err
}

// Close fsyncs what was written, stops, and gives the directory free. An open transaction is left to the next Open, which cuts
// it. Readers end. If ctx ends first, the rest is done whenever the disk answers.
func (j *Journal) Close(ctx context.Context) error {
	j.mu.Lock()
	if !j.closing {
		j.closing = true
		close(j.stop)
		go j.finish()
	}
	j.mu.Unlock()
	select {
	case <-j.closed:
	case <-ctx.Done():
		return fmt.Errorf("close journal: %w", ctx.Err())
	}
	if err := j.Err(); errors.Is(err, ErrBroken) {
		return fmt.Errorf("close journal: %w", err)
	}
	return nil
}

func (j *Journal) finish() {
	defer close(j.closed)
	<-j.stopped
	j.writing.Lock()
	defer j.writing.Unlock()
	j.syncing.Lock()
	defer j.syncing.Unlock()
	_ = j.syncWritten() // what an Append still wrote; a failure is kept in err
	j.mu.Lock()
	if j.err == nil {
		j.err = ErrClosed
	}
	j.announce()
	j.mu.Unlock()
	if j.tail != nil {
		_ = j.tail.file.Close() // fsynced
	}
	_ = j.lock.Close()
}
