package restore

import (
	"errors"
	"fmt"

	"tidemark/internal/position"
	"tidemark/internal/segment"
)

// Target is the moment to restore to. Exactly one field is set.
type Target struct {
	// Time is on the source's clock.
	Time position.Time
	// LSN includes the transactions that end at or below it.
	LSN position.LSN
	// Latest is the end of the archive.
	Latest bool
}

// String names the target in messages.
func (t Target) String() string {
	switch {
	case t.LSN != 0:
		return "LSN " + t.LSN.String()
	case t.Time != 0:
		return "time " + t.Time.String()
	}
	return "the end of the archive"
}

// Validate says what is wrong with a target that names no moment, or several.
func (t Target) Validate() error {
	n := 0
	for _, set := range []bool{t.Time != 0, t.LSN != 0, t.Latest} {
		if set {
			n++
		}
	}
	if n != 1 {
		return errors.New("restore: name exactly one target: a time, an LSN, or latest")
	}
	return nil
}

// ends reports whether a restore stops before the transaction that f is a part of.
func (t Target) ends(f *segment.Frame) bool {
	switch {
	case t.LSN != 0:
		return f.End > t.LSN
	case t.Time != 0:
		return f.Time > t.Time && !f.IsFrontier()
	}
	return false
}

// ErrUnreachable says that the archive does not lead to the target. The error says why, and what it covers.
var ErrUnreachable = errors.New("restore target cannot be reached")

func unreachable(t Target, format string, args ...any) error {
	return fmt.Errorf("plan restore to %s: %s: %w", t, fmt.Sprintf(format, args...), ErrUnreachable)
}
