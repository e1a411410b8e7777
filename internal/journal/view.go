package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"tidemark/internal/position"
	"tidemark/internal/segment"
	"tidemark/internal/vfs"
)

// View is a journal opened for looking only: as it was at one moment, also while a service writes to it. Segments that
// the service removes meanwhile can no longer be read.
type View struct {
	*shelf
}

// OpenReadOnly opens the journal in dir without locking or changing anything. A directory without one, or one that does not
// exist, gives ErrEmpty; damage at the end of a segment gives *segment.CorruptionError.
func OpenReadOnly(files vfs.FS, dir string) (*View, error) {
	var err error
	// A service may create, cut or remove a segment while it is looked at: what is only that is gone at the next look.
	for range 4 {
		v := &View{shelf: newShelf(files, dir)}
		v.err = errEnd
		if err = v.load(); err == nil || errors.Is(err, ErrEmpty) {
			return v, err
		}
	}
	return nil, err
}

func (v *View) load() error {
	numbers, err := sequences(v.fs, v.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("open journal %s: %w", v.dir, ErrEmpty)
	}
	if err != nil {
		return err
	}
	for len(numbers) > 0 {
		if v.segments, err = loadAllButLast(v.fs, v.dir, numbers); err != nil {
			return err
		}
		unborn := false
		number := numbers[len(numbers)-1]
		if err := with(v.fs, v.path(number), func(f vfs.File, size int64) error {
			unborn, err = v.loadLast(f, size, number)
			return err
		}); err != nil {
			return err
		}
		if !unborn {
			v.sum()
			return nil
		}
		numbers = numbers[:len(numbers)-1]
	}
	return fmt.Errorf("open journal %s: %w", v.dir, ErrEmpty)
}

func (v *View) sum() {
	v.total = 0
	for _, h := range v.segments {
		v.total += h.size
	}
}

func (v *View) loadLast(f vfs.File, size int64, number uint64) (unborn bool, err error) {
	name := v.path(number)
	s, err := segment.Recover(name, f, size)
	if err != nil {
		if s == nil && leftover(err, f, size) {
			return true, nil
		}
		return false, err
	}
	if err := chained(name, v.segments, number, s.Header); err != nil {
		return false, err
	}
	v.segments = append(v.segments, &held{header: s.Header, totals: s.Totals, data: s.Complete, size: size, sealed: s.Sealed})
	v.durable = mark{sequence: number, size: s.Complete, end: s.Totals.Last, time: s.LastTime}
	return false, nil
}

// Identity is whose changes the journal holds.
func (v *View) Identity() Identity { return identityOf(v.segments[len(v.segments)-1].header) }

// End is the end LSN of the last complete transaction, or where the journal began.
func (v *View) End() position.LSN { return v.durable.end }

// Check is what Verify found of one segment.
type Check struct {
	Info
	// Digest is the chain digest of a sealed segment.
	Digest segment.Digest
	// Err is nil for a good one. In the tail, bytes behind the last complete transaction are no error.
	Err error
}

// Verify reads every byte of every segment: checksums, order, footers, and the chain of digests. It returns what it
// found of each segment, and the first error.
func (v *View) Verify(ctx context.Context) ([]Check, error) {
	var checks []Check
	var first error
	for i := range v.segments {
		if err := ctx.Err(); err != nil {
			return checks, err
		}
		c := Check{Info: v.segments[i].info()}
		previous := segment.Digest{}
		if i > 0 {
			previous = checks[i-1].Digest
		}
		c.Digest, c.Err = v.check(i, previous)
		if c.Err != nil && first == nil {
			first = c.Err
		}
		checks = append(checks, c)
	}
	return checks, first
}

// check verifies the i-th segment; previous is the digest of the one before, if that one was good.
func (v *View) check(i int, previous segment.Digest) (segment.Digest, error) {
	h := v.segments[i]
	name := v.path(h.header.Sequence)
	var digest segment.Digest
	err := with(v.fs, name, func(f vfs.File, size int64) error {
		if !h.sealed {
			s, err := segment.Recover(name, f, h.size)
			if err == nil && s.Complete < h.data {
				err = &segment.CorruptionError{Name: name, Position: s.Complete, Reason: "it changed while it was read"}
			}
			return err
		}
		r, err := segment.NewReader(name, f, size)
		if err != nil {
			return err
		}
		s, err := segment.Verify(r)
		if err == nil {
			digest = s.Chain
		}
		return err
	})
	if err == nil && !previous.IsZero() && h.header.Previous != previous {
		err = &segment.CorruptionError{Name: name, Reason: "the segment before is not the one that its header names"}
	}
	return digest, err
}
