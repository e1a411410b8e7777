package archiver

import (
	"errors"
	"fmt"
	"time"

	"tidemark/internal/objstore"
	"tidemark/internal/position"
	"tidemark/internal/segment"
)

// Config says where to, and how often. Zero values take the defaults.
type Config struct {
	// URL of the archive: s3://bucket/prefix?region=… or file:///path.
	URL string
	// Bucket is used instead of URL where it is set.
	Bucket objstore.Bucket
	// FlushInterval is the longest time that a complete transaction waits for its object; default 5 s.
	FlushInterval time.Duration
	// FlushSize is the size, in bytes before compression, from which an object is stored; default 8 MiB.
	FlushSize int64
}

// The defaults, and the bounds that Validate keeps.
const (
	DefaultFlushInterval = 5 * time.Second
	DefaultFlushSize     = 8 << 20
	minFlushInterval     = 10 * time.Millisecond
	maxFlushInterval     = time.Hour
	minFlushSize         = 1 << 10
	maxFlushSize         = 1 << 30
)

// WithDefaults fills in what is zero.
func (c Config) WithDefaults() Config {
	if c.FlushInterval == 0 {
		c.FlushInterval = DefaultFlushInterval
	}
	if c.FlushSize == 0 {
		c.FlushSize = DefaultFlushSize
	}
	return c
}

// Validate says what is out of range, after the defaults.
func (c Config) Validate() error {
	c = c.WithDefaults()
	switch {
	case c.URL == "" && c.Bucket == nil:
		return errors.New("archive: url is not set: name a bucket, such as s3://bucket/prefix or file:///path")
	case c.FlushInterval < minFlushInterval || c.FlushInterval > maxFlushInterval:
		return fmt.Errorf("archive: flush_interval is %v: want %v to %v", c.FlushInterval, minFlushInterval, maxFlushInterval)
	case c.FlushSize < minFlushSize || c.FlushSize > maxFlushSize:
		return fmt.Errorf("archive: flush_size is %d bytes: want %d to %d", c.FlushSize, minFlushSize, maxFlushSize)
	}
	return nil
}

// Stream says whose changes the journal holds.
type Stream struct {
	SystemID      string
	Timeline      uint32
	Database      string
	ServerVersion uint32
	Slot          string
	// Generation is the LSN of the slot's consistent point.
	Generation position.LSN
}

func (s Stream) header(sequence uint64, after position.LSN, previous segment.Digest, nonce uint64) segment.Header {
	return segment.Header{
		SystemID: s.SystemID, Timeline: s.Timeline, Database: s.Database, ServerVersion: s.ServerVersion, Slot: s.Slot,
		Generation: s.Generation, Sequence: sequence, After: after, Previous: previous, Nonce: nonce,
		Created: time.Now().UTC().Truncate(time.Microsecond),
	}
}

// Extent says what the journal holds at this moment: everything behind the end LSN after, up to the end LSN end.
type Extent func() (after, end position.LSN)
