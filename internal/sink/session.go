package sink

import (
	"context"
	"fmt"
	"time"

	"tidemark/internal/position"
	"tidemark/internal/segment"
)

// session is the state between one Open and the error that ends it.
type session struct {
	cfg     *Config
	log     Log
	batch   batch
	handed  handed
	open    position.LSN // end of the transaction that has begun but not ended; 0 for none
	opened  Reached
	reached Reached
	commit  position.Time // of the last complete transaction handed over that is no frontier
	rush    bool          // the last Apply had frames: the first tick behind it comes at once

	progressed bool   // the position moved since Open
	advanced   func() // called when progressed becomes true
}

func (s *session) run(ctx context.Context) error {
	for {
		if err := s.read(ctx); err != nil {
			return fmt.Errorf("read the journal: %w", err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := s.note(s.batch.frames); err != nil {
			return Permanent(err)
		}
		if err := s.apply(ctx); err != nil {
			return err
		}
	}
}

// read fills the batch. It stays empty when a tick is due first.
func (s *session) read(ctx context.Context) error {
	wait := s.untilTick()
	if s.log.Ready() {
		wait = time.Minute // Next returns at once: its deadline must not win
	}
	return s.batch.fill(ctx, wait, s.log, s.cfg.BatchFrames, s.cfg.BatchBytes)
}

func (s *session) untilTick() time.Duration {
	switch {
	case !s.pending():
		return s.cfg.IdleTick
	case s.rush:
		return 0
	}
	return s.cfg.Tick
}

// pending reports whether the sink has complete transactions that it does not cover yet.
func (s *session) pending() bool { return s.reached.Covered < s.handed.last }

// note follows the order of what is handed over. A journal that goes back or mixes transactions is a defect that would
// put the sink out of order, so it stops here.
func (s *session) note(frames []segment.Frame) error {
	for i := range frames {
		f := &frames[i]
		if f.Kind != segment.Part {
			continue
		}
		if f.End <= s.handed.last || s.open != 0 && f.End != s.open {
			return fmt.Errorf("journal out of order: transaction %s behind %s", f.End, max(s.handed.last, s.open))
		}
		s.open = f.End
		if f.Last {
			s.open = 0
			if !f.IsFrontier() {
				s.commit = f.Time
			}
			s.handed.add(handedTransaction{end: f.End, time: s.commit, rows: uint64(f.Ordinal) + uint64(f.Count)})
		}
	}
	return nil
}

func (s *session) apply(ctx context.Context) error {
	reached, err := s.cfg.Sink.Apply(ctx, s.batch.frames)
	if err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	s.rush = len(s.batch.frames) > 0
	reached.Covered = max(reached.Covered, reached.Stored)
	if reached.Covered > max(s.handed.last, s.opened.Covered) {
		return Permanent(fmt.Errorf("apply: sink reports %s although it was given whole transactions up to %s only",
			reached.Covered, s.handed.last))
	}
	mark, rows := s.handed.cover(reached)
	s.cfg.Board.Set(s.cfg.Name, mark)
	s.cfg.Metrics.applied.WithLabelValues(s.cfg.Name).Add(float64(rows))
	if reached.Covered > s.opened.Covered && !s.progressed {
		s.progressed = true
		s.advanced()
	}
	s.reached.Stored = max(s.reached.Stored, reached.Stored)
	s.reached.Covered = max(s.reached.Covered, reached.Covered)
	return nil
}
