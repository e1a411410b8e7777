package archiver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"tidemark/internal/archive"
	"tidemark/internal/objstore"
	"tidemark/internal/position"
	"tidemark/internal/segment"
	"tidemark/internal/sink"
)

// Sink is the archive as a sink. One goroutine uses it.
type Sink struct {
	cfg    Config
	stream Stream
	extent Extent
	log    *slog.Logger
	// started is when this sink was made: no object of ours is older.
	started time.Time

	bucket objstore.Bucket // nil until the first Open
	tested bool
	// sent holds the digests of objects whose Create failed, by number: they may still arrive.
	sent map[uint64][]string

	// All that follows is of one Open.
	usable  bool
	tail    archive.Tail
	stored  position.LSN
	defs    segment.Definitions
	defines []segment.Define
	writer  *archive.Writer // nil when nothing waits
	dirty   time.Time       // when the writer's first part came
}

// New makes a sink; it does not talk to the store.
func New(cfg Config, stream Stream, extent Extent, log *slog.Logger) (*Sink, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Sink{
		cfg: cfg, stream: stream, extent: extent, log: log, bucket: cfg.Bucket, sent: map[uint64][]string{},
		started: time.Now().UTC().Truncate(time.Microsecond),
	}, nil
}

// Open implements sink.Sink: it tests the store once, claims the archive, and finds and verifies its end.
func (s *Sink) Open(ctx context.Context) (sink.Reached, error) {
	s.usable, s.writer, s.defs = false, nil, segment.Definitions{}
	if err := s.open(ctx); err != nil {
		return sink.Reached{}, classify(err)
	}
	s.usable = true
	return s.reached(), nil
}

func (s *Sink) open(ctx context.Context) error {
	if err := s.connect(ctx); err != nil {
		return err
	}
	if err := archive.Claim(ctx, s.bucket, s.stream.SystemID, s.stream.Database); err != nil {
		return err
	}
	store, err := archive.OpenStore(ctx, s.bucket)
	if err != nil {
		return err
	}
	if s.tail, err = store.Tail(ctx); err != nil {
		return err
	}
	for _, p := range s.tail.Damaged {
		s.log.Error("the archive has a hole; nothing behind it can be restored from a base before it: take a new base", "object", p.Key, "reason", p.Reason)
	}
	s.stored = 0
	if last := s.tail.Last; last != nil {
		if err := s.accept(*last); err != nil {
			return err
		}
		s.stored = last.Last
	}
	// A predecessor may have stopped between an object and the index that was due.
	s.tail, err = archive.PutIndexes(ctx, s.bucket, s.tail)
	return err
}

func (s *Sink) connect(ctx context.Context) error {
	if s.bucket == nil {
		bucket, err := archive.OpenBucket(ctx, s.cfg.URL)
		if err != nil {
			return err
		}
		s.bucket = bucket
	}
	if s.tested {
		return nil
	}
	if err := objstore.SelfTest(ctx, s.bucket); err != nil {
		return err
	}
	s.tested = true
	return nil
}

// accept refuses an archive behind whose end our journal cannot go on.
func (s *Sink) accept(last archive.Object) error {
	other := last.Generation != s.stream.Generation && last.Generation != 0 && s.stream.Generation != 0 // 0: not known
	if other || last.Slot != s.stream.Slot {
		return fmt.Errorf("open archive: %s came through slot %q made at %s, the journal through slot %q made at %s, "+
			"and changes between the two may be missing; use another prefix: %w",
			last.Key, last.Slot, last.Generation, s.stream.Slot, s.stream.Generation, archive.ErrForeign)
	}
	if last.Timeline > s.stream.Timeline {
		return fmt.Errorf("open archive: %s is of timeline %d, the journal of timeline %d: the source was restored to before it; use another prefix: %w",
			last.Key, last.Timeline, s.stream.Timeline, archive.ErrForeign)
	}
	if _, end := s.extent(); last.Last > end {
		return fmt.Errorf("open archive: %s ends at %s, and the journal only at %s: the journal is not the one that was archived, or has lost its end; use another prefix: %w",
			last.Key, last.Last, end, archive.ErrForeign)
	}
	return nil
}

func (s *Sink) reached() sink.Reached { return sink.Reached{Stored: s.stored, Covered: s.stored} }

// Apply implements sink.Sink.
func (s *Sink) Apply(ctx context.Context, frames []segment.Frame) (sink.Reached, error) {
	if !s.usable {
		return sink.Reached{}, errors.New("apply: the archive is not open")
	}
	if err := s.apply(ctx, frames); err != nil {
		s.usable = false
		return sink.Reached{}, classify(err)
	}
	return s.reached(), nil
}

func (s *Sink) apply(ctx context.Context, frames []segment.Frame) error {
	for i := range frames {
		f := &frames[i]
		if f.Kind == segment.Definition {
			s.defs.Learn(f)
			continue
		}
		if f.Kind != segment.Part {
			continue
		}
		if err := s.append(f); err != nil {
			return err
		}
		if f.Last && s.writer.Size() >= s.cfg.FlushSize {
			if err := s.flush(ctx); err != nil {
				return err
			}
		}
	}
	if s.due() {
		return s.flush(ctx)
	}
	return nil
}

func (s *Sink) due() bool {
	return s.writer != nil && !s.writer.Open() && time.Since(s.dirty) >= s.cfg.FlushInterval
}

func (s *Sink) append(f *segment.Frame) error {
	if s.writer == nil {
		if err := s.begin(f); err != nil {
			return err
		}
	}
	var err error
	if s.defines, err = s.defs.Defines(s.defines[:0], f.Meta); err != nil {
		return sink.Permanent(err)
	}
	return s.writer.Append(segment.Append{Frame: *f, Defines: s.defines})
}

// Close implements sink.Sink. Complete transactions that wait are stored if ctx allows: a clean stop leaves nothing
// behind in the journal alone.
func (s *Sink) Close(ctx context.Context) error {
	if !s.usable || s.writer == nil || s.writer.Open() {
		s.usable, s.writer = false, nil
		return nil
	}
	s.usable = false
	return s.flush(ctx)
}

// classify marks what retrying cannot mend.
func classify(err error) error {
	for _, final := range []error{
		objstore.ErrDenied, objstore.ErrUnfenced, archive.ErrForeign, archive.ErrHole, archive.ErrCorrupt, archive.ErrTooLarge, segment.ErrInvalid,
	} {
		if errors.Is(err, final) {
			return sink.Permanent(err)
		}
	}
	return err
}
