package sinktest

import (
	"context"
	"regexp"
	"testing"

	"go.uber.org/goleak"

	"tidemark/internal/position"
	"tidemark/internal/segment"
	"tidemark/internal/sink"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is the simplest target that keeps the contract: the suite must accept it.
type memory struct {
	held   []position.Position
	stored position.LSN
}

func (m *memory) Sink(*testing.T) sink.Sink                { return &memorySink{target: m} }
func (m *memory) Kill(_ *testing.T, s sink.Sink)           { s.(*memorySink).target = &memory{} }
func (m *memory) Effects(t *testing.T) []position.Position { return m.held }

type memorySink struct {
	target *memory
	open   []position.Position
	ended  position.LSN
}

func (s *memorySink) Open(context.Context) (sink.Reached, error) {
	s.ended = s.target.stored
	return sink.Reached{Stored: s.target.stored}, nil
}

var marked = regexp.MustCompile(`[0-9A-F]+/[0-9A-F]+:[0-9]+`)

func (s *memorySink) Apply(_ context.Context, frames []segment.Frame) (sink.Reached, error) {
	for _, f := range frames {
		if f.Kind != segment.Part {
			continue
		}
		for m, err := range segment.Messages(f.Payload) {
			if err != nil {
				return sink.Reached{}, err
			}
			if id := relationOf(m); id != Rows.ID && id != Other.ID {
				continue
			}
			p, err := position.Parse(marked.FindString(string(m)))
			if err != nil {
				return sink.Reached{}, err
			}
			s.open = append(s.open, p)
		}
		if f.Last {
			s.target.held = append(s.target.held, s.open...)
			s.target.stored = f.End
			s.open = nil
		}
	}
	return sink.Reached{Stored: s.target.stored}, nil
}

func (s *memorySink) Close(context.Context) error { return nil }

func TestSuiteAcceptsACorrectSink(t *testing.T) {
	Run(t, Harness{New: func(*testing.T) Target { return &memory{} }})
}
