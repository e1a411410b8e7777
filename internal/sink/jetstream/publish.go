package jetstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"tidemark/internal/change"
	"tidemark/internal/event"
	"tidemark/internal/planted"
	"tidemark/internal/position"
	"tidemark/internal/segment"
	"tidemark/internal/sink"
)

// row publishes a row's messages, except those which the stream held when the session began.
func (s *Sink) row(ctx context.Context, end position.LSN, row change.Row) error {
	if published(row) {
		s.rows++
	}
	behind := position.Position{End: end, Ordinal: row.Ordinal + uint32(max(len(row.Truncated), 1))}
	if s.resume.sequence != 0 && !s.resume.last.Less(position.Position{End: end, Ordinal: behind.Ordinal - 1}) {
		return s.encoder.Skip(row)
	}
	batch, err := s.encoder.Row(s.batch[:0], row)
	if err != nil {
		return sink.Permanent(err)
	}
	s.batch = batch
	for i := range batch {
		if row.Op == change.Truncate && s.holds(&batch[i]) {
			continue
		}
		if err := s.publish(ctx, &batch[i]); err != nil {
			return s.explain(err, &batch[i])
		}
	}
	return nil
}

// published reports whether the row is of a table that subscribers see.
func published(row change.Row) bool {
	if row.Op != change.Truncate {
		return row.Relation.Schema != change.Own
	}
	return slices.ContainsFunc(row.Truncated, func(r *change.Relation) bool { return r.Schema != change.Own })
}

// holds reports whether the stream held the message when the session began: a session may begin between the messages of
// one truncate.
func (s *Sink) holds(m *event.Message) bool {
	p, err := position.Parse(m.Header.Position)
	return err == nil && s.resume.sequence != 0 && !s.resume.last.Less(p)
}

// end publishes the commit marker of a transaction that put rows into the stream.
func (s *Sink) end(ctx context.Context, f *segment.Frame) error {
	tx := event.TransactionOf(f)
	e := ended{end: f.End, marked: s.rows > 0}
	if !e.marked {
		quiet, err := s.encoder.Commit(nil)
		if err != nil {
			return sink.Permanent(err)
		}
		e.marker = quiet[0]
	} else if s.resume.sequence == 0 || s.resume.last.Less(tx.Position()) {
		batch, err := s.encoder.Commit(s.batch[:0])
		if err != nil {
			return sink.Permanent(err)
		}
		s.batch = batch
		if err := s.publish(ctx, &batch[0]); err != nil {
			return s.explain(err, &batch[0])
		}
	}
	s.rows = 0
	e.need = s.pub.sequence()
	s.waiting = append(s.waiting, e)
	return nil
}

// mark publishes a commit marker without rows when the stream's own position has been behind for long: the
// journal can then forget what the stream does not need. It stands between transactions only, also where the one that the stream
// ends within is still to come.
func (s *Sink) mark(ctx context.Context) error {
	if err := s.collect(); err != nil {
		return err
	}
	if s.behind.IsZero() || time.Since(s.behind) < s.cfg.IdleMarker || s.rows > 0 || s.halfway != 0 || len(s.waiting) > 0 {
		return nil
	}
	m := s.quiet.marker
	if err := s.publish(ctx, &m); err != nil {
		return s.explain(err, &m)
	}
	s.waiting = append(s.waiting, ended{end: s.quiet.end, need: s.pub.sequence(), marked: true})
	return nil
}

func (s *Sink) publish(ctx context.Context, m *event.Message) error {
	if planted.Is(planted.StreamResumeOff) && s.wrongSkip() {
		return nil
	}
	header := make(nats.Header, 8)
	for name, value := range m.Header.Fields() {
		header[name] = []string{value}
	}
	if planted.Is(planted.PublishWithoutID) {
		wrongHeader(header)
	}
	return s.pub.publish(ctx, &nats.Msg{Subject: m.Subject, Header: header, Data: m.Data})
}

// explain makes an error permanent when the server will never take the message, and says which row it is.
func (s *Sink) explain(err error, m *event.Message) error {
	if errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, errTooLarge) {
		return sink.Permanent(fmt.Errorf("publish %s of %d bytes on %s: %w: raise max_payload of the NATS server or max_msg_size of the stream",
			m.Header.Position, len(m.Data), m.Subject, err))
	}
	return err
}
