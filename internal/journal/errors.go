package journal

import (
	"errors"
	"syscall"
)

var (
	// ErrBroken says that a write or fsync failed and that nobody knows what the disk holds now: close the journal and open
	// it anew. The error that it came from is wrapped too.
	ErrBroken = errors.New("journal is broken")
	// ErrFull says that the disk, a quota or MaxSize is exhausted. Nothing was acknowledged and nothing changed: the
	// same Append may be repeated.
	ErrFull = errors.New("journal is full")
	// ErrClosed says that the journal or the reader is closed.
	ErrClosed = errors.New("journal is closed")
	// ErrIdentity says that the journal belongs to another source.
	ErrIdentity = errors.New("journal belongs to another source")
	// ErrGap says that the journal does not reach back to the position to read from.
	ErrGap = errors.New("journal does not reach back to this position")
	// ErrAhead says that the position to read from is behind the journal's durable end: its holder has more than the journal.
	ErrAhead = errors.New("position is ahead of the journal")
	// ErrEmpty says that there is no journal in the directory.
	ErrEmpty = errors.New("there is no journal here")
)

// IsFull reports whether err says that there is no room, so that the same Append may be repeated later.
func IsFull(err error) bool { return errors.Is(err, ErrFull) }

func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
