package check

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidemark/internal/position"
)

const (
	fetchSize  = 1000
	fetchFor   = 2 * time.Second
	retryAfter = 200 * time.Millisecond
)

var errClosed = errors.New("the connection is closed")

// Run follows the stream until ctx ends, whose cause it then returns, or until a Violation. It outlives restarts of the
// server: each session begins behind the last message taken. It may be called again after ctx ended.
func (s *Stream) Run(ctx context.Context) error {
	for s.broken == nil {
		err := s.session(ctx)
		if _, ok := errors.AsType[*Violation](err); ok {
			s.broken = err
			break
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s.cfg.Log.Debug("stream session ended", "err", err, "sequence", s.last)
		select {
		case <-time.After(retryAfter):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return s.broken
}

// session follows the stream over one connection, with one consumer; neither is ever repaired.
func (s *Stream) session(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	conn, err := nats.Connect(s.cfg.URL, nats.NoReconnect(), nats.Timeout(2*time.Second), nats.PingInterval(2*time.Second),
		nats.ClosedHandler(func(*nats.Conn) { cancel(errClosed) }))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return fmt.Errorf("use JetStream: %w", err)
	}
	stream, err := js.Stream(ctx, s.cfg.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) && s.last > 0 {
		return Violated(streamCheck, s.at.End, "the stream is gone after message %d", s.last)
	}
	if err != nil {
		return fmt.Errorf("look up stream: %w", err)
	}
	begin := s.begin(stream.CachedInfo().State)
	consumer, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: begin, AckPolicy: jetstream.AckNonePolicy,
		MemoryStorage: true, InactiveThreshold: 5 * time.Minute,
	})
	if err != nil {
		return fmt.Errorf("create consumer: %w", err)
	}
	s.count("sessions", 1)
	for {
		if err := s.fetch(ctx, stream, consumer); err != nil {
			return err
		}
	}
}

// begin says at which message a session begins: at an earlier one than the next when the server has lost the end of the stream,
// so that what takes the lost messages' places is looked at.
func (s *Stream) begin(state jetstream.StreamState) uint64 {
	if state.LastSeq >= s.last {
		return s.last + 1
	}
	s.cfg.Log.Warn("the NATS server lost the end of the stream", "sequence", state.LastSeq, "had", s.last)
	s.count("lost by the server", int(s.last-state.LastSeq))
	return state.LastSeq + 1
}

func (s *Stream) fetch(ctx context.Context, stream jetstream.Stream, consumer jetstream.Consumer) error {
	bounded, cancel := context.WithTimeout(ctx, fetchFor)
	defer cancel()
	batch, err := consumer.Fetch(fetchSize, jetstream.FetchContext(bounded))
	if err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	for raw := range batch.Messages() {
		if err := s.arrived(ctx, stream, raw); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := batch.Error(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("fetch: %w", err)
	}
	return nil
}

// arrived takes the next message. One that was there before must be the same; one too far ahead means that messages vanished,
// if the server says so too.
func (s *Stream) arrived(ctx context.Context, stream jetstream.Stream, raw jetstream.Msg) error {
	meta, err := raw.Metadata()
	if err != nil {
		return fmt.Errorf("read metadata of a message: %w", err)
	}
	m := message{sequence: meta.Sequence.Stream, subject: raw.Subject(), header: raw.Headers(), data: raw.Data()}
	if m.sequence <= s.last {
		return s.again(m)
	}
	if next := s.last + 1; m.sequence > next {
		switch _, err := stream.GetMsg(ctx, next); {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			return Violated(streamCheck, s.at.End, "messages %d to %d of the stream have vanished", next, m.sequence-1)
		case err != nil:
			return fmt.Errorf("get message %d: %w", next, err)
		}
		return fmt.Errorf("message %d came before message %d", m.sequence, next)
	}
	if err := s.take(ctx, m); err != nil {
		return err
	}
	s.last = m.sequence
	s.seen[m.sequence%uint64(len(s.seen))] = remembered{at: s.at, sum: s.sum(m)}
	s.count("messages", 1)
	return nil
}

// remembered is what is kept of a message that was taken.
type remembered struct {
	at  position.Position
	sum uint64
}

// sum is of all that the service writes into a message. What the publisher tells the server in headers may be different the next time.
func (s *Stream) sum(m message) uint64 {
	var h maphash.Hash
	h.SetSeed(s.seed)
	write := func(b string) { // a string's hash takes in no length
		maphash.WriteComparable(&h, len(b))
		_, _ = h.WriteString(b) // never fails
	}
	write(m.subject)
	write(string(m.data))
	for _, name := range [...]string{"Nats-Msg-Id", headerPosition, "Tidemark-Xid", "Tidemark-Commit-Time", "Tidemark-Schema", "Content-Type"} {
		write(m.header.Get(name))
	}
	return h.Sum64()
}

// again compares a message with that which was at its place before: it must be the same to the byte. What is remembered no more passes.
func (s *Stream) again(m message) error {
	if s.last-m.sequence >= uint64(len(s.seen)) {
		return nil
	}
	before := s.seen[m.sequence%uint64(len(s.seen))]
	if now := m.header.Get(headerPosition); now != before.at.String() {
		return Violated(streamCheck, before.at.End, "message %d is now %s and was %s", m.sequence, now, before.at)
	}
	if s.sum(m) != before.sum {
		return Violated(streamCheck, before.at.End, "message %d, %s, came again with other bytes", m.sequence, before.at)
	}
	return nil
}
