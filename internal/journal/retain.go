package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"tidemark/internal/position"
)

// Retain removes sealed segments, oldest first, that lie wholly at or below floor (the lowest position that any sink still
// reads from), in which no reader stands, and which were sealed longer than Retention before now (the service's clock), or
// whatever their age while the journal is larger than nine tenths of MaxSize, or the last Append found no room: the disk
// can be full long before MaxSize. When a file cannot be removed, it and the rest are left to the next call.
func (j *Journal) Retain(floor position.LSN, now time.Time) error {
	j.retaining.Lock()
	defer j.retaining.Unlock()
	for {
		if err := j.usable(); err != nil {
			return err
		}
		h := j.takeOldest(floor, now)
		if h == nil {
			return nil
		}
		if err := j.fs.Remove(j.path(h.header.Sequence)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			j.putBack(h)
			return fmt.Errorf("remove segment: %w", err)
		}
		// Each unlink is durable before the next: a crash leaves no hole in the numbers.
		if err := j.fs.SyncDir(j.dir); err != nil {
			return j.fail(fmt.Errorf("fsync journal directory: %w", err))
		}
	}
}

// takeOldest takes the oldest segment off the shelf if it may go, so that no reader enters it any more.
func (j *Journal) takeOldest(floor position.LSN, now time.Time) *held {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.segments) < 2 {
		return nil
	}
	h, next := j.segments[0], j.segments[1]
	if !h.sealed || h.totals.Last > floor {
		return nil
	}
	// A segment is sealed when the next one is created. A clock that was set back only makes it stay longer.
	if now.Sub(next.header.Created) < j.cfg.Retention && j.total <= j.cfg.MaxSize/10*9 && !j.full.Load() {
		return nil
	}
	for _, sequence := range j.readers {
		if sequence <= h.header.Sequence {
			return nil
		}
	}
	j.segments = j.segments[1:]
	j.account(-h.size)
	return h
}

func (j *Journal) putBack(h *held) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.segments = append([]*held{h}, j.segments...)
	j.account(h.size)
}
