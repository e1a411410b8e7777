package capture

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"time"

	"tidemark/internal/planted"
	"tidemark/internal/position"
	"tidemark/internal/progress"
)

const (
	// reportInterval is the longest silence; a source with less patience is told more often.
	reportInterval = time.Second
	writeTimeout   = 5 * time.Second
)

// report is what a status update says (https://www.postgresql.org/docs/current/protocol-replication.html).
type report struct{ flush, apply position.LSN }

// acknowledged computes what may be reported now. It is the only place that decides it.
func (c *Capture) acknowledged() report {
	floor, known := c.cfg.Board.Floor(c.cfg.Acknowledge...)
	journal, haveJournal := c.cfg.Board.Get(progress.Journal)
	standby, haveStandby := c.cfg.Board.Get(progress.Standby)
	c.mu.Lock()
	defer c.mu.Unlock()
	p := &c.state
	flush := p.reported
	if known {
		// A stage that claims more than we ever handed over holds another history: never report what we did not receive.
		flush = max(flush, min(floor, p.handed))
	}
	if planted.Is(planted.AckOnReceipt) {
		flush = max(flush, p.handed)
	}
	// Start is durable: it is where the journal ended when it was opened, or the slot's own position. But the
	// other stages of the set must have reached it like anything appended later.
	if p.idle > flush && known && floor >= p.idleAfter && haveJournal && journal.Stored >= p.idle {
		flush = p.idle
	}
	r := report{flush: flush, apply: flush}
	if haveStandby && standby.Covered < p.appended || c.cfg.Standby && !haveStandby {
		r.apply = min(flush, max(c.cfg.Confirmed, standby.Stored))
	}
	r.apply = max(r.apply, p.applied)
	return r
}

func (c *Capture) setReported(r report) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.reported = max(c.state.reported, r.flush)
	c.state.applied = max(c.state.applied, r.apply)
}

// announce tells who asked for it what is about to be sent.
func (c *Capture) announce(r report) error {
	if c.cfg.Acknowledging == nil {
		return nil
	}
	if err := c.cfg.Acknowledging(r.flush, r.apply); err != nil {
		return fatal("send feedback: %w", err)
	}
	return nil
}

// feedback is the sending half of one connection.
type feedback struct {
	capture *Capture
	conn    net.Conn
	// interval is the longest time without a report.
	interval time.Duration
	// poke says that a position may have moved; asked, that the source wants an answer; ask, that we want one. Each holds
	// one signal.
	poke, asked, ask chan struct{}
	buf              [39]byte
}

func newFeedback(c *Capture, conn net.Conn, patience time.Duration) *feedback {
	return &feedback{capture: c, conn: conn, interval: intervalFor(patience), poke: make(chan struct{}, 1), asked: make(chan struct{}, 1), ask: make(chan struct{}, 1)}
}

// intervalFor leaves room for two reports that come late. A source that waits for ever has the patience 0.
func intervalFor(patience time.Duration) time.Duration {
	if patience == 0 {
		return reportInterval
	}
	return min(reportInterval, max(patience/4, 10*time.Millisecond))
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// run sends until ctx ends or a write fails.
func (f *feedback) run(ctx context.Context) error {
	timer := time.NewTicker(f.interval)
	defer timer.Stop()
	var last report
	due, ask := true, true // the first report goes out at once
	for {
		changed := f.capture.cfg.Board.Changed()
		if now := f.capture.acknowledged(); due || now != last {
			if err := f.send(now, ask); err != nil {
				return err
			}
			last = now
		}
		due, ask = false, false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-f.poke:
		case <-f.asked:
			due = true
		case <-f.ask:
			due, ask = true, true
		case <-timer.C:
			due, ask = true, true
		}
	}
}

// send writes one status update. Write and flush are the same: what we only received is worth nothing to a client that
// waits with synchronous_commit=remote_write.
func (f *feedback) send(r report, ask bool) error {
	if err := f.capture.announce(r); err != nil {
		return err
	}
	if err := f.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return transient("set write deadline: %w", err)
	}
	if _, err := f.conn.Write(encodeReport(&f.buf, r, position.TimeOf(time.Now()), ask)); err != nil {
		return transient("send feedback: %w", err)
	}
	f.capture.setReported(r)
	return nil
}

func encodeReport(buf *[39]byte, r report, now position.Time, ask bool) []byte {
	b := append(buf[:0], 'd', 0, 0, 0, 38, 'r')
	b = binary.BigEndian.AppendUint64(b, uint64(r.flush))
	b = binary.BigEndian.AppendUint64(b, uint64(r.flush))
	b = binary.BigEndian.AppendUint64(b, uint64(r.apply))
	b = binary.BigEndian.AppendUint64(b, uint64(now))
	if ask {
		return append(b, 1)
	}
	return append(b, 0)
}

// farewell sends the last report, ends the COPY and the session, and waits for the server to close: closing first would
// throw the report away where unread data is left. It takes at most farewellTimeout.
func (f *feedback) farewell() error {
	if err := f.conn.SetDeadline(time.Now().Add(farewellTimeout)); err != nil {
		return fmt.Errorf("set deadline: %w", err)
	}
	r := f.capture.acknowledged()
	if err := f.capture.announce(r); err != nil {
		return err
	}
	b := encodeReport(&f.buf, r, position.TimeOf(time.Now()), false)
	b = append(b, 'c', 0, 0, 0, 4, 'X', 0, 0, 0, 4)
	if _, err := f.conn.Write(b); err != nil {
		return fmt.Errorf("send last feedback: %w", err)
	}
	f.capture.setReported(r)
	sink := make([]byte, 64<<10)
	for {
		if _, err := f.conn.Read(sink); err != nil {
			return nil
		}
	}
}

const farewellTimeout = 2 * time.Second
