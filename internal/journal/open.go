package journal

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"tidemark/internal/planted"
	"tidemark/internal/position"
	"tidemark/internal/progress"
	"tidemark/internal/segment"
	"tidemark/internal/vfs"
)

// Open opens the journal in cfg.Dir for writing, or makes a new one that begins behind start. board and reg may be nil. What
// is durable is on the board when it returns. Errors: ErrIdentity, vfs.ErrLocked, *segment.CorruptionError; none of
// them changes anything on the disk. Only the ends of sealed segments are read: readers check what they read, View.Verify checks everything.
func Open(fs vfs.FS, cfg Config, id Identity, start position.LSN, board *progress.Board, reg prometheus.Registerer, log *slog.Logger) (*Journal, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m, err := newMetrics(reg)
	if err != nil {
		return nil, err
	}
	if err := fs.MakeDir(cfg.Dir); err != nil {
		return nil, fmt.Errorf("make journal directory: %w", err)
	}
	lock, err := fs.Lock(cfg.Dir)
	if errors.Is(err, vfs.ErrLocked) {
		return nil, fmt.Errorf("open journal: another tidemark uses it: stop that one first, or give each its own journal.dir: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("lock journal: %w", err)
	}
	j := &Journal{
		shelf: newShelf(fs, cfg.Dir), cfg: cfg, id: id, board: board, metrics: m, log: log, lock: lock,
		wake: make(chan struct{}, 1), stop: make(chan struct{}), stopped: make(chan struct{}),
		failed: make(chan struct{}), closed: make(chan struct{}),
	}
	err = j.recover(start)
	if err == nil && cfg.Trace != nil {
		err = cfg.Trace.Opened(j.written.end, fileName(j.written.sequence), j.written.size)
	}
	if err != nil {
		if j.tail != nil {
			_ = j.tail.file.Close()
		}
		_ = lock.Close()
		return nil, err
	}
	j.publish(j.written)
	go j.syncLoop()
	return j, nil
}

// recover reads what is there and makes it good and durable.
func (j *Journal) recover(start position.LSN) error {
	numbers, err := sequences(j.fs, j.dir)
	if err != nil {
		return err
	}
	if j.segments, err = loadAllButLast(j.fs, j.dir, numbers); err != nil {
		return err
	}
	for ; len(numbers) > 0; numbers = numbers[:len(numbers)-1] {
		removed, err := j.recoverLast(numbers[len(numbers)-1])
		if err != nil {
			return err
		}
		if !removed {
			for _, h := range j.segments {
				j.account(h.size)
			}
			// The newest name may be only in the cache, if it was the process that died.
			return j.syncDir()
		}
		if n := len(j.segments); n > 0 {
			j.segments = j.segments[:n-1] // it is the newest now
		}
	}
	if err := j.syncDir(); err != nil {
		return err
	}
	j.written = mark{end: start}
	return j.create()
}

func (j *Journal) syncDir() error {
	if err := j.fs.SyncDir(j.dir); err != nil {
		return fmt.Errorf("fsync journal directory: %w", err)
	}
	return nil
}

// recoverLast opens the newest segment, or removes it if its creation was never finished.
func (j *Journal) recoverLast(number uint64) (removed bool, err error) {
	name := j.path(number)
	f, err := j.fs.Open(name, false)
	if err != nil {
		return false, fmt.Errorf("open segment: %w", err)
	}
	size, err := trueSize(f)
	if err != nil {
		_ = f.Close() // only read
		return false, fmt.Errorf("open segment: %w", err)
	}
	header, err := segment.ReadHeader(name, f, size)
	if err != nil {
		unborn := leftover(err, f, size)
		_ = f.Close() // only read
		if !unborn {
			return false, err
		}
		return true, j.removeUnborn(name, number)
	}
	kept, err := j.recoverTail(name, f, size, number, header)
	if !kept {
		_ = f.Close() // fsynced, or only read
	}
	return false, err
}

// trueSize makes sure that what is read from now on comes from the disk, and returns the file's size.
func trueSize(f vfs.File) (int64, error) {
	if e, ok := f.(vfs.Evicter); ok {
		if err := e.Evict(); err != nil {
			return 0, err
		}
	}
	return f.Size()
}

// leftover reports whether a file whose header gave err is what an interrupted creation leaves, and no damage.
func leftover(err error, f vfs.File, size int64) bool {
	if _, ok := errors.AsType[*segment.CorruptionError](err); !ok {
		return false
	}
	unborn, err := segment.Unborn(f, size)
	return unborn && err == nil
}

func (j *Journal) removeUnborn(name string, number uint64) error {
	if n := len(j.segments); n > 0 {
		if err := identityOf(j.segments[n-1].header).admit(j.dir, j.id); err != nil {
			return err
		}
	}
	j.log.Warn("remove a segment whose creation was interrupted", "segment", number)
	if err := j.fs.Remove(name); err != nil {
		return fmt.Errorf("remove segment: %w", err)
	}
	return j.syncDir()
}

// recoverTail checks the newest segment, cuts what is torn, and makes it durable. kept says that f is the tail's now.
func (j *Journal) recoverTail(name string, f vfs.File, size int64, number uint64, header segment.Header) (kept bool, err error) {
	if err := chained(name, j.segments, number, header); err != nil {
		return false, err
	}
	if err := identityOf(header).admit(j.dir, j.id); err != nil {
		return false, err
	}
	j.id.Generation = header.Generation
	s, err := segment.Recover(name, f, size)
	if planted.Is(planted.TailCut) && err == nil {
		s, err = wrongCut(name, f, s)
	}
	if err != nil {
		return false, err
	}
	if !s.Sealed && size > s.Complete {
		j.log.Warn("cut the journal back to its last complete transaction", "segment", number, "bytes", size-s.Complete, "end", s.Totals.Last)
		if err := f.Truncate(s.Complete); err != nil {
			return false, fmt.Errorf("cut segment: %w", err)
		}
	}
	// A process that died may have left its bytes in the cache only.
	if err := f.Sync(); err != nil {
		return false, fmt.Errorf("fsync segment: %w", err)
	}
	h := &held{header: header, totals: s.Totals, data: s.Complete, size: s.Complete, sealed: s.Sealed}
	j.segments = append(j.segments, h)
	j.written = mark{sequence: number, size: s.Complete, end: s.Totals.Last, time: s.LastTime}
	if s.Sealed {
		h.size, j.chain = s.Size, s.Chain
		h.totals.Index, h.totals.Definitions = nil, nil
		return false, nil
	}
	t := &tail{file: f, at: s.Complete}
	if t.w, err = s.Resume(t); err != nil {
		return false, err
	}
	h.totals = t.w.Totals()
	j.tail, j.file = t, f
	j.reseal = header.Timeline != j.id.Timeline || int(header.ServerVersion) != j.id.ServerVersion
	return true, nil
}
