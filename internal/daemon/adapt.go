package daemon

import (
	"context"
	"errors"
	"fmt"

	"tidemark/internal/journal"
	"tidemark/internal/position"
	"tidemark/internal/segment"
	"tidemark/internal/sink"
)

// openLog lets a runner read the journal. Its errors become the runner's: a gap and damage are permanent.
func openLog(j *journal.Journal) sink.OpenLog {
	return func(after position.LSN) (sink.Log, error) {
		r, err := j.Read(after)
		switch {
		case errors.Is(err, journal.ErrGap):
			return nil, fmt.Errorf("%w: %w", sink.ErrGap, err)
		case errors.Is(err, journal.ErrAhead):
			// A standby that was just seeded stands where the source was; capture gets there.
			return nil, fmt.Errorf("wait for the journal: %w", err)
		case err != nil:
			return nil, lasting(err)
		}
		return logReader{r}, nil
	}
}

// lasting marks damage permanent: reading again would only find it again.
func lasting(err error) error {
	if _, ok := errors.AsType[*segment.CorruptionError](err); ok {
		return sink.Permanent(err)
	}
	return err
}

// logReader keeps a broken journal from looking like the sink's own trouble.
type logReader struct{ *journal.Reader }

// Next returns the next durable frame.
func (r logReader) Next(ctx context.Context) (segment.Frame, error) {
	f, err := r.Reader.Next(ctx)
	if err != nil && ctx.Err() == nil {
		return f, fmt.Errorf("read journal: %w", lasting(err))
	}
	return f, err
}

// appender tells capture in its own words that the journal has no room.
type appender struct{ *journal.Journal }

// Append hands a part to the journal.
func (a appender) Append(part segment.Append) error {
	err := a.Journal.Append(part)
	if journal.IsFull(err) {
		return fullError{err}
	}
	return err
}

// fullError is an error after which the same part may be offered again.
type fullError struct{ error }

// Full says so.
func (fullError) Full() bool { return true }

// Unwrap gives the journal's error.
func (e fullError) Unwrap() error { return e.error }
