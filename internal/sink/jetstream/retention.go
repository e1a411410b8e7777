package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const trimInterval = time.Minute

// trim removes messages older than the retention once a minute, but never the last commit marker nor anything behind it:
// they are the sink's position.
func (s *Sink) trim(ctx context.Context) error {
	if s.cfg.Retention <= 0 || s.marker == 0 || time.Since(s.trimmed) < s.trimEvery {
		return nil
	}
	s.trimmed = time.Now()
	info, err := s.stream.Info(ctx)
	if err != nil {
		return fmt.Errorf("read stream's state: %w", err)
	}
	first, err := firstSince(ctx, s.stream, info.State.FirstSeq, s.marker, time.Now().Add(-s.cfg.Retention))
	if err != nil || first <= info.State.FirstSeq {
		return err
	}
	if err := s.stream.Purge(ctx, jetstream.WithPurgeSequence(first)); err != nil {
		return fmt.Errorf("remove messages older than the retention: %w", err)
	}
	return nil
}

// firstSince searches, between the sequences low and high, the first message that was stored at or after t; high when
// there is none. Times in a stream grow with the sequence; a gap counts as the message behind it.
func firstSince(ctx context.Context, stream jetstream.Stream, low, high uint64, t time.Time) (uint64, error) {
	for low < high {
		mid := low + (high-low)/2
		m, err := stream.GetMsg(ctx, mid, jetstream.WithGetMsgSubject(">"))
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			high = mid
		case err != nil:
			return 0, fmt.Errorf("read message %d: %w", mid, err)
		case m.Time.Before(t):
			low = min(m.Sequence+1, high)
		default:
			high = mid
		}
	}
	return high, nil
}
