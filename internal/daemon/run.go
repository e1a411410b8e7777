package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"tidemark/internal/capture"
	"tidemark/internal/position"
)

// retainInterval is how often segments that nobody needs are removed. A full journal waits this long for room.
const retainInterval = time.Second

// Run works until ctx ends, and then returns nil, or until the journal's state is unknown. It closes everything that
// Open took.
func (s *Service) Run(ctx context.Context) error {
	s.log.Info("tidemark runs", "version", s.opts.Version, "http", s.HTTPAddr(), "database", s.identity.Database, "journal", s.journal.End())
	// HTTP outlives the stages, and the sinks outlive capture: each group has its own end.
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	serving, endServing := context.WithCancel(context.WithoutCancel(ctx))
	sinking, endSinking := context.WithCancel(context.WithoutCancel(ctx))
	defer endServing()
	defer endSinking()

	var servers, sinks, stages errgroup.Group
	servers.Go(func() error { return s.fatal(stop, s.http.Run(serving)) })
	for _, r := range s.runners {
		// The runner has logged a permanent error and keeps it for status.
		sinks.Go(func() error { _ = r.Run(sinking); return nil })
	}
	stages.Go(func() error { return s.captureLoop(ctx, stop) })
	stages.Go(func() error { return s.heartbeat.Run(ctx) })
	stages.Go(func() error { return s.retain(ctx) })
	stages.Go(func() error { return s.watchJournal(ctx, stop) })

	err := stages.Wait()
	endSinking()
	err = errors.Join(err, sinks.Wait(), s.close(ctx))
	endServing()
	err = errors.Join(err, servers.Wait())
	s.log.Info("tidemark has stopped")
	return err
}

// fatal stops the service for an error, and passes it on.
func (s *Service) fatal(stop context.CancelCauseFunc, err error) error {
	if err != nil {
		stop(err)
	}
	return err
}

// captureLoop ends the service when capture does not know the journal's state any more. When the source refuses, the
// sinks go on with what the journal holds.
func (s *Service) captureLoop(ctx context.Context, stop context.CancelCauseFunc) error {
	err := s.capture.Loop(ctx)
	if err == nil || ctx.Err() != nil {
		return nil
	}
	if errors.Is(err, capture.ErrRefused) {
		s.log.Error("capture stopped: the source refuses", "error", err)
		s.mu.Lock()
		s.refused = err
		s.mu.Unlock()
		<-ctx.Done()
		return nil
	}
	return s.fatal(stop, fmt.Errorf("capture: %w", err))
}

// watchJournal ends the service when the journal breaks while capture is idle.
func (s *Service) watchJournal(ctx context.Context, stop context.CancelCauseFunc) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.journal.Failed():
		return s.fatal(stop, fmt.Errorf("journal: %w", s.journal.Err()))
	}
}

// retain removes segments below what every enabled sink has stored. A sink that has said nothing yet keeps everything.
func (s *Service) retain(ctx context.Context) error {
	tick := time.NewTicker(retainInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			if err := s.journal.Retain(s.floor(), now); err != nil {
				s.log.Warn("remove old segments", "error", err)
			}
		}
	}
}

func (s *Service) floor() position.LSN {
	stages := []string{}
	for _, c := range s.monitor.Copies {
		stages = append(stages, c.Name)
	}
	floor, ok := s.board.Floor(stages...)
	if !ok {
		return 0
	}
	return floor
}
