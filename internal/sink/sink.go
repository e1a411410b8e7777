package sink

import (
	"context"
	"errors"

	"tidemark/internal/position"
	"tidemark/internal/segment"
)

// Reached is how far a sink's target has come; progress.Mark says what the two LSNs mean.
type Reached struct {
	Stored  position.LSN
	Covered position.LSN
}

// Sink is a destination. One goroutine, the Runner's, calls its methods.
type Sink interface {
	// Open connects to the target and returns the position that the target holds. Zero means that it holds nothing and
	// takes whatever the journal still has. It is called again after every error, and must take up whatever a crash or
	// a lost reply left behind: what it returns is what the target really holds.
	Open(ctx context.Context) (Reached, error)
	// Apply takes the next frames, definitions and parts, in journal order; frames and their payloads are valid only during the
	// call. It may keep a transaction open over several calls, and may lag behind: it returns what is durable at
	// the target by now, which must never include a transaction whose last part it has not been given. With no frames
	// it is a tick: finish what is due by time, collect what was in flight, and return.
	Apply(ctx context.Context, frames []segment.Frame) (Reached, error)
	// Close gives everything back. It must not wait longer than ctx allows.
	Close(ctx context.Context) error
}

// Log is an open reader on the journal. One goroutine uses it.
type Log interface {
	// Next returns the next frame, waiting until there is a durable one or ctx ends. A Definition comes whenever the
	// segment holds one, also for relations that only skipped transactions use. End and Total are set on every part.
	Next(ctx context.Context) (segment.Frame, error)
	// Ready reports whether Next would return at once.
	Ready() bool
	Close() error
}

// OpenLog opens a reader behind the transaction that ends at after; zero starts at the oldest. It returns an error that
// is ErrGap when the journal no longer, or never, held what follows after.
type OpenLog func(after position.LSN) (Log, error)

// ErrGap says that the journal does not hold what follows the sink's position: the sink must be rebuilt (resync).
var ErrGap = errors.New("journal does not reach back to the sink's position")

type permanent struct{ err error }

func (p permanent) Error() string { return p.err.Error() }
func (p permanent) Unwrap() error { return p.err }

// Permanent marks an error that retrying cannot mend: the Runner stops this sink and says so. Every other error is
// transient and retried with back-off.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanent{err}
}

// IsPermanent reports whether err, or an error that it wraps, is marked Permanent or is ErrGap.
func IsPermanent(err error) bool {
	var p permanent
	return errors.As(err, &p) || errors.Is(err, ErrGap)
}
