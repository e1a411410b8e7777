package standby

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"tidemark/internal/apply"
	"tidemark/internal/change"
	"tidemark/internal/pgoutput"
	"tidemark/internal/planted"
	"tidemark/internal/position"
	"tidemark/internal/segment"
	"tidemark/internal/sink"
)

// Name is the application_name of the session on the standby.
const Name = "tidemark standby"

// Sink applies the journal to a standby.
type Sink struct {
	cfg    Config
	stream string
	log    *slog.Logger

	applier  *apply.Applier
	decoder  *pgoutput.Decoder
	position position.LSN // what the standby holds
	inside   bool         // a transaction has begun and not ended
	bindings apply.Bindings
}

// New makes the sink of a stream (apply.Config.Stream); it connects in Open.
func New(cfg Config, stream string, log *slog.Logger) (*Sink, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if stream == "" {
		return nil, errors.New("standby: the stream has no name")
	}
	return &Sink{cfg: cfg.WithDefaults(), stream: stream, log: log}, nil
}

// Open connects and reads where the standby stands. A standby that holds no copy of the source yet is an error, retried
// until `tidemark snapshot standby` has made one.
func (s *Sink) Open(ctx context.Context) (sink.Reached, error) {
	if err := s.Close(ctx); err != nil {
		return sink.Reached{}, err
	}
	applier, err := apply.Open(ctx, apply.Config{URL: s.cfg.URL, Stream: s.stream, Name: Name, Bindings: &s.bindings}, s.log)
	if err != nil {
		return sink.Reached{}, classify(err)
	}
	s.applier, s.decoder, s.inside = applier, pgoutput.NewDecoder(), false
	lsn, seeded, err := applier.Position(ctx)
	if err != nil {
		return sink.Reached{}, classify(err)
	}
	if !seeded {
		return sink.Reached{}, errors.New("the standby holds no copy of the source yet: run `tidemark snapshot standby`")
	}
	s.position = lsn
	return s.reached(), nil
}

func (s *Sink) reached() sink.Reached {
	return sink.Reached{Stored: s.position, Covered: s.position}
}

// Apply takes the next frames and commits every transaction that they complete.
func (s *Sink) Apply(ctx context.Context, frames []segment.Frame) (sink.Reached, error) {
	if s.applier == nil {
		return sink.Reached{}, errors.New("apply to standby: the sink is not open")
	}
	for i := range frames {
		if err := s.frame(ctx, &frames[i]); err != nil {
			return sink.Reached{}, classify(err)
		}
	}
	if err := s.flush(ctx); err != nil {
		return sink.Reached{}, classify(err)
	}
	return s.reached(), nil
}

func (s *Sink) flush(ctx context.Context) error {
	lsn, err := s.applier.Flush(ctx)
	if err == nil {
		s.position = lsn
	}
	return err
}

func (s *Sink) frame(ctx context.Context, f *segment.Frame) error {
	switch {
	case f.Kind == segment.Definition:
		if err := s.decoder.Define(f.Payload); err != nil {
			return sink.Permanent(fmt.Errorf("apply to standby: %w", err))
		}
		return nil
	case f.Kind != segment.Part || f.End <= s.position:
		return nil // the journal may begin before the standby's position
	case f.First == s.inside:
		return sink.Permanent(fmt.Errorf("apply to standby: part %d of the transaction that ends at %s does not follow what was before", f.Number, f.End))
	}
	if f.First {
		if err := s.begin(ctx, f); err != nil {
			return err
		}
	}
	if err := s.rows(ctx, f); err != nil || !f.Last {
		return err
	}
	s.inside = false
	return s.applier.End(ctx, f.End, f.Time)
}

// begin starts a transaction. What is complete is committed first when it is enough, or when the new one is long: the rest of
// that may come much later.
func (s *Sink) begin(ctx context.Context, f *segment.Frame) error {
	if s.applier.Pending() >= s.cfg.BatchRows || !f.Last {
		if err := s.flush(ctx); err != nil {
			return err
		}
	}
	s.inside = true
	return s.applier.Begin(ctx, apply.Transaction{Xid: f.Xid, Commit: f.Commit, Time: f.Time})
}

func (s *Sink) rows(ctx context.Context, f *segment.Frame) error {
	rows := s.decoder.Rows(f)
	if planted.Is(planted.BatchReordered) {
		rows = planted.Swap(rows, change.Row.Clone, wrongPair)
	}
	for row, err := range rows {
		if err != nil {
			return sink.Permanent(fmt.Errorf("apply to standby: transaction that ends at %s: %w", f.End, err))
		}
		if err := s.applier.Row(ctx, row); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the session. A transaction that was not complete is rolled back by the standby.
func (s *Sink) Close(ctx context.Context) error {
	if s.applier == nil {
		return nil
	}
	err := s.applier.Close(ctx)
	s.applier = nil
	return err
}

// classify marks what retrying cannot mend.
func classify(err error) error {
	var rights *apply.RightsError
	var stream *apply.StreamError
	if errors.As(err, &rights) || errors.As(err, &stream) || errors.Is(err, apply.ErrFenced) {
		return sink.Permanent(err)
	}
	return err
}
