package capture

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"tidemark/internal/position"
	"tidemark/internal/progress"
	"tidemark/internal/source"
)

// TestAcknowledgeRule checks the one decision on what may be reported.
func TestAcknowledgeRule(t *testing.T) {
	board := progress.New()
	c := &Capture{cfg: Config{Board: board, Acknowledge: []string{progress.Journal, progress.Archive}, Confirmed: 100},
		state: positions{handed: 200, appended: 200, reported: 100}}
	want := func(step string, flush, apply position.LSN) {
		t.Helper()
		if r := c.acknowledged(); r != (report{flush, apply}) {
			t.Errorf("%s: report is %+v, want %d and %d", step, r, flush, apply)
		}
		c.setReported(c.acknowledged())
	}
	want("nothing known", 100, 100)
	board.Set(progress.Journal, progress.Mark{Stored: 200})
	c.state.handed = 250
	c.state.idle, c.state.idleAfter = 250, 200
	want("a stage of the set wrote nothing", 100, 100)
	board.Set(progress.Archive, progress.Mark{Stored: 150})
	want("the slowest counts", 150, 150)
	board.Set(progress.Archive, progress.Mark{Stored: 200})
	want("frontier that is not durable in the journal", 200, 200)
	board.Set(progress.Journal, progress.Mark{Stored: 250})
	want("durable frontier, and the archive has all before it", 250, 250)
	c.state.handed, c.state.appended = 300, 300
	c.state.idle, c.state.idleAfter = 300, 280
	board.Set(progress.Journal, progress.Mark{Stored: 300})
	want("frontier waits for the slowest", 250, 250)
	board.Set(progress.Archive, progress.Mark{Stored: 280})
	board.Set(progress.Standby, progress.Mark{Stored: 200, Covered: 270})
	want("apply never goes back", 300, 250)
	board.Set(progress.Standby, progress.Mark{Stored: 290, Covered: 290})
	want("apply is the standby's", 300, 290)
	board.Set(progress.Journal, progress.Mark{Stored: 1000})
	board.Set(progress.Archive, progress.Mark{Stored: 1000})
	want("never beyond what was handed over", 300, 290)
	board.Set(progress.Standby, progress.Mark{Stored: 300})
	want("a standby without gap follows", 300, 300)
}

// TestApplyWaitsForTheStandby covers the time between a start and the standby's first word.
func TestApplyWaitsForTheStandby(t *testing.T) {
	board := progress.New()
	board.Set(progress.Journal, progress.Mark{Stored: 200})
	c := &Capture{cfg: Config{Board: board, Acknowledge: []string{progress.Journal}, Confirmed: 100, Standby: true},
		state: positions{handed: 200, appended: 200, reported: 100}}
	if r := c.acknowledged(); r != (report{200, 100}) {
		t.Errorf("report is %+v before the standby spoke", r)
	}
	board.Set(progress.Standby, progress.Mark{Stored: 150})
	if r := c.acknowledged(); r != (report{200, 150}) {
		t.Errorf("report is %+v, want the standby's position", r)
	}
}

func TestKeepaliveWithinTransactionDoesNotCount(t *testing.T) {
	board := progress.New()
	board.Set(progress.Journal, progress.Mark{Stored: 50})
	s := newSession(t, board)
	c := s.c
	send := func(payload []byte) {
		t.Helper()
		if err := s.copyData(append(append([]byte{'w'}, make([]byte, 24)...), payload...)); err != nil {
			t.Fatal(err)
		}
	}
	alive := func(walEnd uint64) {
		t.Helper()
		s.frontier = time.Time{} // no wait for the interval
		if err := s.copyData(append(be(be([]byte{'k'}, 8, walEnd), 8, 1000), 1)); err != nil {
			t.Fatal(err)
		}
	}
	alive(80)
	if r := c.acknowledged(); r.flush != 80 {
		t.Errorf("an idle keepalive gives %+v", r)
	}
	send(relationMsg(1, 23))
	send(beginMsg(100))
	send(insertMsg(1, "a"))
	alive(100) // the transaction's own commit, as servers really send it
	alive(140)
	if r := c.acknowledged(); r.flush != 80 {
		t.Errorf("a keepalive within a transaction gives %+v", r)
	}
	select {
	case <-s.feedback.asked:
	default:
		t.Error("the keepalive's question was not passed on")
	}
	send(commitMsg(100, 130))
	if r := c.acknowledged(); r.flush != 130 {
		t.Errorf("after commit: %+v", r)
	}
	alive(140)
	if r := c.acknowledged(); r.flush != 140 {
		t.Errorf("idle again: %+v", r)
	}
}

func (s *session) memory() *memory { return s.c.cfg.Appender.(*memory) }

// newSession is a session without a connection whose journal ends at 50.
func newSession(t *testing.T, board *progress.Board) *session {
	t.Helper()
	m, err := newMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &Capture{metrics: m, cfg: Config{Board: board, Acknowledge: []string{progress.Journal}, Start: 50, Confirmed: 50, Appender: newMemory(board, 50)},
		state: positions{handed: 50, appended: 50, committed: 50, reported: 50}}
	s := &session{c: c, feedback: newFeedback(c, nil, 0), ctx: t.Context()}
	s.assembler = newAssembler(50, 1<<20, s.append, s.received)
	return s
}

// TestFrontiersArePaced lets keepalives come in thousands without a frontier for each.
func TestFrontiersArePaced(t *testing.T) {
	s := newSession(t, progress.New())
	for i := range 1000 {
		if err := s.idle(position.LSN(100 + i)); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.memory().frontiers; n == 0 || n > 20 {
		t.Errorf("%d frontiers for 1000 keepalives", n)
	}
}

// TestEarlyKeepaliveIsAskedAgain covers the last keepalive of several: nothing else may ever come to replace it.
func TestEarlyKeepaliveIsAskedAgain(t *testing.T) {
	s := newSession(t, progress.New())
	near, far := net.Pipe()
	defer func() { _, _ = near.Close(), far.Close() }()
	s.feedback = newFeedback(s.c, near, 0)
	s.feedback.interval = time.Hour // so that only a request can ask
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.feedback.run(ctx) }()
	var report [39]byte
	read := func() bool {
		t.Helper()
		if _, err := io.ReadFull(far, report[:]); err != nil {
			t.Fatal(err)
		}
		return report[38] == 1
	}
	read()                                                        // the first
	for s.memory().frontiers == 0 || !time.Now().Before(s.asks) { // until one was too early, however slow the machine
		for end := range position.LSN(2) {
			if err := s.idle(s.c.startLSN() + end + 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	for !read() {
	}
	cancel()
	_ = near.Close()
	<-done
}

func TestMalformedReplicationMessagesAreFatal(t *testing.T) {
	s := newSession(t, progress.New())
	for _, body := range [][]byte{nil, {'w'}, {'k', 0, 0}, {'x'}, append([]byte{'w'}, make([]byte, 24)...)} {
		if err := s.copyData(body); !errors.Is(err, ErrFatal) {
			t.Errorf("% x gives %v", body, err)
		}
	}
}

func TestConfirmedMoment(t *testing.T) {
	board := progress.New()
	s := newSession(t, board)
	c := s.c
	idle := func(end position.LSN) {
		t.Helper()
		if err := s.idle(end); err != nil {
			t.Fatal(err)
		}
	}
	c.Observe(source.Sample{Time: 1000, End: 90})
	if got := c.State().Confirmed; got != 0 {
		t.Errorf("confirmed %d before anything was received", got)
	}
	idle(80)
	if got := c.State().Confirmed; got != 0 {
		t.Errorf("confirmed %d below the sample's end", got)
	}
	idle(90)
	if got := c.State().Confirmed; got != 1000 {
		t.Errorf("confirmed %d, want the sample's time: nothing was committed", got)
	}
	s.memory().withhold = true
	for _, m := range [][]byte{relationMsg(1, 23), beginMsg(100), insertMsg(1, "a"), commitMsg(100, 120)} {
		if err := s.message(m); err != nil {
			t.Fatal(err)
		}
	}
	c.Observe(source.Sample{Time: 2000, End: 130})
	idle(130)
	if got := c.State().Confirmed; got != 1000 {
		t.Errorf("confirmed %d while the journal lacks a transaction", got)
	}
	board.Set(progress.Journal, progress.Mark{Stored: 120, Time: 1900})
	if got := c.State().Confirmed; got != 2000 {
		t.Errorf("confirmed %d, want the second sample's time", got)
	}
}

func TestSilenceIsShorterThanThePatience(t *testing.T) {
	for patience, want := range map[time.Duration]time.Duration{
		0: reportInterval, time.Millisecond: 10 * time.Millisecond, time.Second: 250 * time.Millisecond,
		time.Minute: reportInterval,
	} {
		if got := intervalFor(patience); got != want {
			t.Errorf("a source that waits %v hears after %v, want %v", patience, got, want)
		}
	}
}

// TestAcknowledgingComesFirst: who is told what is acknowledged is told before the source is; without its consent nothing is sent.
func TestAcknowledgingComesFirst(t *testing.T) {
	for what, send := range map[string]func(*feedback) error{
		"report":   func(f *feedback) error { return f.send(f.capture.acknowledged(), false) },
		"farewell": (*feedback).farewell,
	} {
		t.Run(what, func(t *testing.T) {
			ours, theirs := net.Pipe()
			defer ours.Close()
			board := progress.New()
			board.Set(progress.Journal, progress.Mark{Stored: 50})
			s := newSession(t, board)
			s.feedback.conn = ours
			refused := errors.New("trace is full")
			var told []report
			s.c.cfg.Acknowledging = func(flush, apply position.LSN) error {
				told = append(told, report{flush, apply})
				return refused
			}
			// Nobody reads: a write would end with the deadline's error.
			if err := send(s.feedback); !errors.Is(err, refused) || !errors.Is(err, ErrFatal) {
				t.Errorf("without consent: %v", err)
			}
			refused = nil
			got := make(chan []byte, 1)
			go func() {
				b := make([]byte, 64)
				n, _ := io.ReadAtLeast(theirs, b, 39)
				got <- b[:n]
				_ = theirs.Close()
			}()
			if err := send(s.feedback); err != nil {
				t.Error(err)
			}
			if b := <-got; len(b) < 39 || b[5] != 'r' || b[13] != 50 {
				t.Errorf("sent %x", b)
			}
			if len(told) != 2 || told[0] != (report{50, 50}) || told[1] != told[0] {
				t.Errorf("told %v", told)
			}
		})
	}
}
