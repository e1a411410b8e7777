package jetstream

import (
	"fmt"
	"testing"

	"tidemark/internal/position"
	"tidemark/internal/sink"
	"tidemark/internal/sink/sinktest"
)

type target struct{ *stream }

func (c target) Sink(t *testing.T) sink.Sink { return c.sink(t) }

// Kill cuts the socket: what the client had not written is gone, what the server had read it still stores.
func (c target) Kill(_ *testing.T, s sink.Sink) { _ = s.(*Sink).dialer.last.Close() }

func (c target) Effects(t *testing.T) []position.Position {
	rows, _ := c.rows(t)
	return rows
}

func TestConformance(t *testing.T) {
	p := startProcess(t)
	n := 0
	sinktest.Run(t, sinktest.Harness{New: func(t *testing.T) sinktest.Target {
		s := newStream(t, p.url())
		n++
		s.cfg.Stream, s.cfg.SubjectPrefix = fmt.Sprintf("T%d", n), fmt.Sprintf("t%d", n)
		return target{s}
	}})
}
