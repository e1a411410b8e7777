package journal

import (
	"errors"
	"fmt"
	"time"

	"tidemark/internal/position"
	"tidemark/internal/segment"
)

// Config says where the journal is and how much it keeps.
type Config struct {
	// Dir is the directory; it is made if it does not exist. It has no default.
	Dir string
	// SegmentSize in bytes; a segment ends at the end of the transaction that passes it. 0 is 64 MiB.
	SegmentSize int64
	// Retention is how long a sealed segment is kept although every sink has it. 0 is 24 hours.
	Retention time.Duration
	// MaxSize in bytes of the whole journal, at least twice SegmentSize: where a part would pass it, Append says ErrFull. Only the seal
	// of a segment and the header of the next may pass it. From nine tenths of it on, segments that every sink has go
	// before Retention. One transaction cannot be larger than this. 0 is 50 GiB.
	MaxSize int64
	// Trace, if set, is told where transactions stand in the files.
	Trace Trace
}

// Trace is told before anybody else is. Its error breaks the journal.
type Trace interface {
	// Opened says that the journal was opened and ends at end, with the frame that ends at size in the named file.
	Opened(end position.LSN, file string, size int64) error
	// Appended says that the last frame of a transaction or a frontier was written, and ends at size in the named file.
	Appended(end position.LSN, file string, size int64) error
}

// WithDefaults fills in what is zero.
func (c Config) WithDefaults() Config {
	if c.SegmentSize == 0 {
		c.SegmentSize = 64 << 20
	}
	if c.Retention == 0 {
		c.Retention = 24 * time.Hour
	}
	if c.MaxSize == 0 {
		c.MaxSize = 50 << 30
	}
	return c
}

// Validate says what is wrong with a Config that has its defaults.
func (c Config) Validate() error {
	switch {
	case c.Dir == "":
		return errors.New("journal.dir is empty")
	case c.SegmentSize < 1<<10:
		return fmt.Errorf("journal.segment_size is %d bytes: it must be at least 1 KiB", c.SegmentSize)
	case c.Retention < 0:
		return fmt.Errorf("journal.retention is %s: it must not be negative", c.Retention)
	case c.MaxSize < 2*c.SegmentSize:
		return fmt.Errorf("journal.max_size is %d bytes: it must be at least twice journal.segment_size", c.MaxSize)
	}
	return nil
}

// Identity is whose changes a journal holds.
type Identity struct {
	SystemID      string
	Timeline      uint32
	Database      string
	ServerVersion int
	Slot          string
	// Generation is the LSN of the slot's consistent point: a slot made again has another one. Zero means that it is not
	// known; a journal that exists keeps its own, and one that began without it stays so.
	Generation position.LSN
}

func identityOf(h segment.Header) Identity {
	return Identity{
		SystemID: h.SystemID, Timeline: h.Timeline, Database: h.Database, ServerVersion: int(h.ServerVersion), Slot: h.Slot,
		Generation: h.Generation,
	}
}

// admit says why a journal of identity old must not go on with changes of id.
func (old Identity) admit(dir string, id Identity) error {
	differ := func(what string, has, is any) error {
		return fmt.Errorf("open journal %s: it holds changes of %s %v, the source is %v: set journal.dir to the source's own journal, "+
			"or move this one away and seed the sinks anew; nothing was changed: %w", dir, what, has, is, ErrIdentity)
	}
	switch {
	case old.SystemID != id.SystemID:
		return differ("system identifier", old.SystemID, id.SystemID)
	case old.Database != id.Database:
		return differ("database", old.Database, id.Database)
	case old.Slot != id.Slot:
		return differ("slot", old.Slot, id.Slot)
	case id.Generation != 0 && old.Generation != 0 && old.Generation != id.Generation:
		return differ("slot generation", old.Generation, id.Generation)
	case id.Timeline < old.Timeline:
		return differ("timeline", old.Timeline, id.Timeline)
	}
	return nil
}
