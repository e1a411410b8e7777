package capture

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"time"

	"golang.org/x/sync/errgroup"

	"tidemark/internal/planted"
	"tidemark/internal/position"
	"tidemark/internal/segment"
)

// Run is the life of one connection. It returns when the connection ends or ctx does, with an error in any case: ErrFatal
// and ErrRefused as in Loop, every other is worth another connection. An open transaction has been taken back then.
func (c *Capture) Run(ctx context.Context) error {
	s, err := c.dial(ctx)
	if err != nil {
		return err
	}
	c.cfg.Log.Info("capture is streaming", "start", c.startLSN(), "slot", c.cfg.Source.Slot)
	c.setConnected(true)
	err = s.run(ctx)
	c.setConnected(false)
	if errors.Is(err, errSilent) {
		c.silenced()
	}
	if ctx.Err() != nil && !errors.Is(err, ErrFatal) {
		if err := s.feedback.farewell(); err != nil {
			c.cfg.Log.Info("last feedback was not delivered", "error", err)
		}
	}
	_ = s.conn.Close() // nothing that we wrote hangs on it
	return err
}

func (c *Capture) setConnected(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.connected, c.state.full = on, false
	select {
	case <-c.leaving: // it was for the connection before
	default:
	}
	c.state.streamed = c.state.streamed || on
}

// session is one connection while it streams. The reading goroutine owns assembler and wire, the sending one feedback.
type session struct {
	c         *Capture
	conn      net.Conn
	in        *listener // what wire reads from
	wire      *wire
	feedback  *feedback
	assembler *assembler
	ctx       context.Context // ends when either half ends; only append waits on it
	sent      position.Time   // send time of the message being read
	frontier  time.Time       // when the last frontier was appended
	asks      time.Time       // when feedback will ask for a keepalive in place of one that came too early
}

func (s *session) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	s.ctx, s.in.ctx = ctx, ctx
	s.assembler = newAssembler(s.c.startLSN(), s.c.cfg.PartBytes, s.append, s.received)
	if planted.Is(planted.DiscardForgotten) || planted.Is(planted.RelationKept) {
		s.assembler.wrongInherit()
	}
	// The group ends ctx at the latest when both halves have returned, so this always runs, and farewell may set its own
	// deadline only behind it.
	woken := make(chan struct{})
	context.AfterFunc(ctx, func() {
		_ = s.conn.SetDeadline(time.Unix(1, 0))
		close(woken)
	})
	group.Go(func() error { return s.feedback.run(ctx) })
	group.Go(func() error { return s.leave(ctx) })
	group.Go(func() error {
		err := s.read()
		return errors.Join(err, s.discard(err))
	})
	err := group.Wait()
	<-woken
	return err
}

// leaveTime is how long a source that shuts down may wait for us.
const leaveTime = 1500 * time.Millisecond

// leave ends the connection leaveTime after the source began to shut down. The reader may stand in the journal for longer,
// so the connection is closed here.
func (s *session) leave(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.c.leaving:
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(leaveTime):
	}
	_ = socket(s.conn).Close() // at once, without a TLS farewell
	return transient("the source shuts down: it does not wait any longer for what is not acknowledged")
}

// discard takes the open transaction back. After a fatal error the journal is left as it is: recovery decides.
func (s *session) discard(err error) error {
	if errors.Is(err, ErrFatal) || !s.assembler.open || !s.assembler.handed {
		return nil
	}
	if err := s.c.cfg.Appender.Discard(); err != nil {
		return fatal("discard the open transaction: %w", err)
	}
	return nil
}

// read receives until something ends the connection; it always returns an error.
func (s *session) read() error {
	for {
		kind, body, err := s.wire.next()
		if err != nil {
			return transient("receive: %w", err)
		}
		switch kind {
		case 'd':
			err = s.copyData(body)
		case 'E':
			err = serverError(body)
		case 'N':
			err = s.c.notice(body)
		case 'c', 'C': // the server shuts down: it has our confirmation of everything
			err = transient("the source ended the stream")
		case 'S', 'A', 'Z': // parameter status, notification, ready
		default:
			err = fatal("unknown server message %q", kind)
		}
		if err != nil {
			return err
		}
	}
}

func (s *session) copyData(body []byte) error {
	switch {
	case len(body) >= 25 && body[0] == 'w':
		s.sent = position.Time(binary.BigEndian.Uint64(body[17:]))
		return s.message(body[25:])
	case len(body) >= 18 && body[0] == 'k':
		return s.keepalive(position.LSN(binary.BigEndian.Uint64(body[1:])), position.Time(binary.BigEndian.Uint64(body[9:])), body[17] != 0)
	}
	return fatal("malformed replication message")
}

func (s *session) message(msg []byte) error {
	out, err := s.assembler.message(msg)
	if err != nil {
		if handed, ok := errors.AsType[handError](err); ok {
			return handed.error
		}
		return fatal("read the stream: %w", err)
	}
	if !out.done {
		return nil
	}
	if out.empty {
		return s.idle(out.end)
	}
	s.committed(out.end)
	return nil
}

// keepalive notes the source's position and clock. Within a transaction its position means nothing to us.
func (s *session) keepalive(walEnd position.LSN, sent position.Time, asks bool) error {
	s.sent = sent
	if asks {
		defer signal(s.feedback.asked)
	}
	if planted.Is(planted.KeepaliveAcked) {
		s.wrongKeepalive(walEnd)
	}
	if !s.assembler.open {
		return s.idle(walEnd)
	}
	s.note(walEnd)
	return nil
}

// note records a message's clock and position.
func (s *session) note(walEnd position.LSN) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.c.clock.observe(s.sent, time.Now())
	s.c.state.message = max(s.c.state.message, s.sent)
	s.c.state.walEnd = max(s.c.state.walEnd, walEnd)
}

// frontierInterval is the shortest time between two frontiers. Keepalives come in thousands while another database is
// busy; for those that come too early the source is asked again once the interval is over.
const frontierInterval = 100 * time.Millisecond

// idle takes the word that everything before end was received, while no transaction is open. It goes into the journal as
// a frontier before it may be acknowledged: otherwise the slot would stand beyond the journal's end at the next start, and
// nobody could tell that from a journal that lost its end.
func (s *session) idle(end position.LSN) error {
	s.note(end)
	s.c.mu.Lock()
	p := &s.c.state
	p.reachSample(max(end, p.appended))
	news, wait := end > p.appended, frontierInterval-time.Since(s.frontier)
	if news && wait <= 0 {
		p.handed = end
	}
	s.c.mu.Unlock()
	if !news {
		return nil
	}
	if wait > 0 {
		s.askIn(wait)
		return nil
	}
	s.frontier = time.Now()
	if err := s.append(segment.Append{Frame: segment.Frontier(end, s.sent)}); err != nil {
		return err
	}
	s.c.mu.Lock()
	p.idle, p.idleAfter, p.appended = end, p.committed, end
	s.c.mu.Unlock()
	signal(s.feedback.poke)
	return nil
}

// askIn asks the source for a keepalive after wait, once for all that are too early until then. The signal may find the
// session ended, and then nobody takes it.
func (s *session) askIn(wait time.Duration) {
	now := time.Now()
	if now.Before(s.asks) {
		return
	}
	s.asks = now.Add(wait)
	time.AfterFunc(wait, func() { signal(s.feedback.ask) })
}

// received tells of a commit, and lets the journal publish it from now on.
func (s *session) received(end position.LSN, commit position.Time) {
	s.c.mu.Lock()
	s.c.state.handed = end
	s.c.mu.Unlock()
	if s.c.cfg.Received != nil {
		s.c.cfg.Received(end, commit)
	}
}

// committed records that the journal accepted a transaction.
func (s *session) committed(end position.LSN) {
	s.note(end)
	s.c.mu.Lock()
	p := &s.c.state
	p.appended, p.committed = end, end
	p.reachSample(end)
	s.c.mu.Unlock()
	s.c.metrics.committed(s.assembler.rows)
	signal(s.feedback.poke)
}

// append hands a part to the journal. While there is no room it waits, and feedback goes on.
func (s *session) append(part segment.Append) error {
	backoff := 50 * time.Millisecond
	for {
		err := s.c.cfg.Appender.Append(part)
		switch {
		case err == nil:
			s.setFull(false, nil)
			return nil
		case !full(err):
			return fatal("append to the journal: %w", err)
		}
		s.setFull(true, err)
		select {
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, time.Second)
	}
}

// setFull logs once when the journal becomes full, and once when it has room again.
func (s *session) setFull(on bool, err error) {
	s.c.mu.Lock()
	was := s.c.state.full
	s.c.state.full = on
	s.c.mu.Unlock()
	switch {
	case on && !was:
		s.c.cfg.Log.Error("journal is full: capture waits for room, and the source keeps its WAL meanwhile", "error", err)
	case was && !on:
		s.c.cfg.Log.Info("journal has room again: capture goes on")
	}
}
