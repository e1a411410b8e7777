package journal

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"tidemark/internal/position"
	"tidemark/internal/segment"
	"tidemark/internal/vfs"
)

const suffix = ".tms"

// Info describes one segment.
type Info struct {
	Name     string
	Sequence uint64
	// After and Last enclose the segment's end LSNs: After < end ≤ Last. They are equal in one without transactions.
	After        position.LSN
	Last         position.LSN
	MinTime      position.Time
	MaxTime      position.Time
	Transactions uint64
	Rows         uint64
	// Created is on the service's clock.
	Created time.Time
	// Bytes is the file's size.
	Bytes  int64
	Sealed bool
	// Unfinished is how many of the bytes belong to no complete transaction: torn, or of one still being written.
	Unfinished int64
}

// held is a segment as it is known in memory.
type held struct {
	header segment.Header
	// totals has an Index and Definitions only for the tail.
	totals segment.Footer
	// data is where the last complete transaction ends.
	data   int64
	size   int64
	sealed bool
}

func (h *held) info() Info {
	i := Info{
		Name: fileName(h.header.Sequence), Sequence: h.header.Sequence, After: h.header.After, Last: h.totals.Last,
		MinTime: h.totals.MinTime, MaxTime: h.totals.MaxTime, Transactions: h.totals.Transactions, Rows: h.totals.Rows,
		Created: h.header.Created, Bytes: h.size, Sealed: h.sealed,
	}
	if !h.sealed {
		i.Unfinished = h.size - h.data
	}
	return i
}

func fileName(sequence uint64) string { return fmt.Sprintf("%016d%s", sequence, suffix) }

// sequences returns the numbers of the segments in a directory, in order. Other files are left alone.
func sequences(fs vfs.FS, dir string) ([]uint64, error) {
	names, err := fs.Names(dir)
	if err != nil {
		return nil, fmt.Errorf("list journal: %w", err)
	}
	var numbers []uint64
	for _, name := range names {
		digits, ok := strings.CutSuffix(name, suffix)
		n, err := strconv.ParseUint(digits, 10, 64)
		if !ok || err != nil || n == 0 || fileName(n) != name {
			continue
		}
		if k := len(numbers); k > 0 && numbers[k-1]+1 != n {
			return nil, &segment.CorruptionError{
				Name: filepath.Join(dir, fileName(numbers[k-1]+1)), Reason: "it is missing between segments that are there",
			}
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}

// follows says what is wrong with h behind the segment old.
func follows(name string, old *held, h segment.Header) error {
	bad := func(reason string) error { return &segment.CorruptionError{Name: name, Reason: reason} }
	a, b := identityOf(old.header), identityOf(h)
	switch {
	case h.Sequence != old.header.Sequence+1:
		return bad("its number is not the one of its name")
	case h.After != old.totals.Last:
		return bad(fmt.Sprintf("it begins behind %s, the segment before ends at %s", h.After, old.totals.Last))
	case a.SystemID != b.SystemID || a.Database != b.Database || a.Slot != b.Slot || a.Generation != b.Generation || a.Timeline > b.Timeline:
		return bad("it belongs to another source than the segment before")
	}
	return nil
}

// with opens a file for the time of a call.
func with(fs vfs.FS, name string, do func(f vfs.File, size int64) error) error {
	f, err := fs.Open(name, false)
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	defer func() { _ = f.Close() }() // nothing was written through it
	size, err := f.Size()
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	return do(f, size)
}

// loadSealed reads header and footer of a sealed segment.
func loadSealed(fs vfs.FS, name string) (*held, error) {
	var h *held
	err := with(fs, name, func(f vfs.File, size int64) error {
		header, footer, place, err := segment.ReadFooter(name, f, size)
		footer.Index, footer.Definitions = nil, nil
		h = &held{header: header, totals: footer, data: place, size: size, sealed: true}
		return err
	})
	return h, err
}

// loadAllButLast loads the segments that must be sealed.
func loadAllButLast(fs vfs.FS, dir string, numbers []uint64) ([]*held, error) {
	var all []*held
	for i, n := range numbers {
		if i == len(numbers)-1 {
			break
		}
		name := filepath.Join(dir, fileName(n))
		h, err := loadSealed(fs, name)
		if err != nil {
			return nil, err
		}
		if err := chained(name, all, n, h.header); err != nil {
			return nil, err
		}
		all = append(all, h)
	}
	return all, nil
}

// chained checks a header against the name of its file and the segment before.
func chained(name string, before []*held, number uint64, h segment.Header) error {
	if h.Sequence != number {
		return &segment.CorruptionError{Name: name, Reason: "its number is not the one of its name"}
	}
	if len(before) == 0 {
		return nil
	}
	return follows(name, before[len(before)-1], h)
}
