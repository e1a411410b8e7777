package daemon

import (
	"context"
	"fmt"

	"tidemark/internal/position"
	"tidemark/internal/segment"
)

// rememberAges tells rpo when the transactions committed that the journal already holds: a copy that was behind before
// a restart is as far behind after it. Of sealed segments the bounds are enough; the tail is walked, so that a copy
// which lacks only the newest transaction is not said to lack the segment's first.
func (s *Service) rememberAges(ctx context.Context) error {
	s.ages.Begin(s.journal.Oldest())
	tail := s.journal.Oldest()
	for _, i := range s.journal.Segments() {
		if !i.Sealed {
			continue
		}
		tail = i.Last
		if !i.MinTime.IsZero() {
			s.ages.Span(i.After+1, i.Last, i.MinTime)
		}
	}
	if err := s.walkAges(ctx, tail); err != nil {
		return fmt.Errorf("read the journal's tail: %w", err)
	}
	return nil
}

func (s *Service) walkAges(ctx context.Context, after position.LSN) error {
	r, err := s.journal.Read(after)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // it only reads
	for end := s.journal.End(); r.Ready(); {
		f, err := r.Next(ctx)
		if err != nil {
			return err
		}
		if f.Kind != segment.Part || !f.Last {
			continue
		}
		if !f.IsFrontier() {
			s.ages.Add(f.End, f.Time)
		}
		if f.End >= end {
			return nil
		}
	}
	return nil
}
