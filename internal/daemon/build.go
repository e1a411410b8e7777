package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tidemark/internal/event"
	"tidemark/internal/journal"
	"tidemark/internal/position"
	"tidemark/internal/postgres"
	"tidemark/internal/progress"
	"tidemark/internal/sink"
	"tidemark/internal/sink/archiver"
	"tidemark/internal/sink/jetstream"
	"tidemark/internal/sink/standby"
	"tidemark/internal/source"
	"tidemark/internal/vfs"
)

// openJournal holds the journal and the source against each other before either is touched.
func (s *Service) openJournal(ctx context.Context) error {
	dir := s.cfg.Journal.Dir
	known, end, err := inspect(dir)
	if err != nil {
		return fmt.Errorf("look at the journal in %s: %w", dir, err)
	}
	if s.opts.Prepare && end.IsZero() {
		// The standby's sink prepares its target by itself, and a standby that is away must not keep us from starting.
		if err := prepareSource(ctx, s.cfg, s.log); err != nil {
			return err
		}
	}
	if err := s.openGate(ctx, known, end); err != nil {
		return err
	}
	s.identity = s.gate.Identity
	cfg := journalConfig(s.cfg.Journal)
	if s.opts.Trace != nil {
		cfg.Trace = s.opts.Trace
	}
	s.journal, err = journal.Open(s.opts.fileSystem(), cfg, s.journalIdentity(), s.gate.LSN, s.board, s.registry, s.log.With("stage", "journal"))
	if err != nil {
		return fmt.Errorf("open the journal in %s: %w", dir, err)
	}
	return nil
}

// gateTimeout bounds how long a source that does not answer keeps the copies from what the journal holds.
const gateTimeout = 10 * time.Second

// openGate asks the source whether it continues the journal. A source that cannot be asked is no reason to stay down: what the
// journal holds and the copies lack may be all that is left of it. Every connection of capture asks again before it streams.
func (s *Service) openGate(ctx context.Context, known source.Identity, end position.LSN) (err error) {
	limited, cancel := context.WithTimeout(ctx, gateTimeout)
	defer cancel()
	s.gate, err = source.Gate(limited, SourceConfig(s.cfg), known, end)
	if err == nil || end.IsZero() || errors.Is(err, source.ErrRefused) || ctx.Err() != nil {
		return err
	}
	s.log.Warn("the source cannot be reached: the copies get what the journal holds, and capture tries on", "error", err)
	s.gate = source.Start{Identity: known, LSN: end}
	return nil
}

// inspect says whose changes a journal holds and where it ends; nothing when there is none.
func inspect(dir string) (source.Identity, position.LSN, error) {
	if err := (vfs.OS{}).MakeDir(dir); err != nil {
		return source.Identity{}, 0, fmt.Errorf("%w; set journal.dir to a directory that we may write", err)
	}
	// Held against a slot that another service moves meanwhile, a journal would look as if it had lost its end.
	lock, err := vfs.OS{}.Lock(dir)
	if errors.Is(err, vfs.ErrLocked) {
		return source.Identity{}, 0, fmt.Errorf("another tidemark uses it: stop that one first, or give each its own journal.dir: %w", err)
	}
	if err != nil {
		return source.Identity{}, 0, fmt.Errorf("lock: %w", err)
	}
	defer func() { _ = lock.Close() }()
	view, err := journal.OpenReadOnly(vfs.OS{}, dir)
	if errors.Is(err, journal.ErrEmpty) {
		return source.Identity{}, 0, nil
	}
	if err != nil {
		return source.Identity{}, 0, err
	}
	return sourceIdentity(view.Identity()), view.End(), nil
}

func sourceIdentity(id journal.Identity) source.Identity {
	return source.Identity{
		SystemID: id.SystemID, Timeline: id.Timeline, Database: id.Database, ServerVersion: postgres.Version(id.ServerVersion),
		Generation: id.Generation,
	}
}

func (s *Service) journalIdentity() journal.Identity {
	return journal.Identity{
		SystemID: s.identity.SystemID, Timeline: s.identity.Timeline, Database: s.identity.Database,
		ServerVersion: int(s.identity.ServerVersion), Slot: s.cfg.Source.Slot, Generation: s.identity.Generation,
	}
}

// buildSinks makes one runner per enabled sink.
func (s *Service) buildSinks(context.Context) error {
	metrics := sink.NewMetrics(s.registry)
	for _, b := range []struct {
		name string
		on   bool
		make func() (sink.Sink, error)
	}{
		{progress.Standby, s.cfg.Sinks.Standby.On(), s.standbySink},
		{progress.NATS, s.cfg.Sinks.NATS.On(), s.natsSink},
		{progress.Archive, s.cfg.Sinks.Archive.On(), s.archiveSink},
	} {
		if !b.on {
			continue
		}
		made, err := b.make()
		if err != nil {
			return err
		}
		r, err := sink.New(sink.Config{
			Name: b.name, Sink: made, Open: openLog(s.journal), Board: s.board, Metrics: metrics, Log: s.log.With("stage", b.name),
		})
		if err != nil {
			return err
		}
		s.runners = append(s.runners, r)
	}
	return nil
}

func (s *Service) standbySink() (sink.Sink, error) {
	return standby.New(standbyConfig(s.cfg.Sinks.Standby), Stream(s.identity), s.log.With("stage", progress.Standby))
}

func (s *Service) natsSink() (sink.Sink, error) {
	return jetstream.New(natsConfig(s.cfg.Sinks.NATS, s.natsURL),
		event.Source{SystemID: s.identity.SystemID, Database: s.identity.Database}, s.log.With("stage", progress.NATS))
}

func (s *Service) archiveSink() (sink.Sink, error) {
	return archiver.New(archiverConfig(s.cfg.Sinks.Archive), archiver.Stream{
		SystemID: s.identity.SystemID, Timeline: s.identity.Timeline, Database: s.identity.Database,
		ServerVersion: uint32(s.identity.ServerVersion), Slot: s.cfg.Source.Slot, Generation: s.journal.Identity().Generation,
	}, s.extent, s.log.With("stage", progress.Archive))
}

// extent is what the journal holds at this moment.
func (s *Service) extent() (after, end position.LSN) { return s.journal.Oldest(), s.journal.End() }
