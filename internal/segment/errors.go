package segment

import (
	"errors"
	"fmt"
)

// ErrInvalid says that a frame or header handed to a Writer breaks the format's rules. Nothing was written.
var ErrInvalid = errors.New("not valid in a segment")

// ErrFormat says that a segment was written in a format that this version does not know.
var ErrFormat = errors.New("segment format is not supported")

// CorruptionError says where a segment is not what was written.
type CorruptionError struct {
	// Name of the segment, as given to the reader.
	Name string
	// Position is the place in the file, in bytes, of the frame (or header, 0) that is damaged.
	Position int64
	// Reason never holds row values.
	Reason string
}

// Error names the segment, the place and the reason.
func (e *CorruptionError) Error() string {
	return fmt.Sprintf("segment %s is corrupt at byte %d: %s", e.Name, e.Position, e.Reason)
}

func invalid(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, ErrInvalid)...)
}
