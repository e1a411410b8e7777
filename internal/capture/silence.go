package capture

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

const (
	// shortestSilence is what a source is granted at least: its answers may queue behind other work of a busy machine.
	shortestSilence = 5 * time.Second
	// defaultSilence is for a source that sets no limit; it is PostgreSQL's own default for both directions.
	defaultSilence = 60 * time.Second
	// maxDoublings bounds how much longer a source may be silent when it was before.
	maxDoublings = 4
)

// errSilent marks the end of a connection whose source said nothing for too long.
var errSilent = errors.New("the source has been silent")

// silence is how long the source may say nothing though it is asked at every report interval: as long as it would bear
// our silence. That is no harsher than the server's own rule, which ends the connection of a receiver from which it has
// heard nothing for wal_sender_timeout, and no harsher than PostgreSQL's own receiver, which ends that of a silent source
// (wal_receiver_timeout, the same 60 s). A walsender reads what we sent whenever it is to judge us, and answers each
// question as it reads it. That holds for one that decodes a huge transaction of which nothing is published: it stops at
// half of wal_sender_timeout for that (WalSndUpdateProgress, since the minor releases of 2022).
//
// There is work in which it stops for nobody, such as a huge transaction that only changes catalogs or rewrites
// tables on a server before 16. It is alive then, and would begin the work again for every new connection. So the limit doubles for
// each silence after which nothing more was received, up to 16 times.
func (c *Capture) silence(patience time.Duration) time.Duration {
	if patience == 0 {
		patience = defaultSilence
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p := &c.state
	if p.appended > p.silentAt {
		p.silences = 0
	}
	return max(patience, shortestSilence) << min(p.silences, maxDoublings)
}

// silenced counts a connection that the source's silence has ended.
func (c *Capture) silenced() {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := &c.state
	if p.appended > p.silentAt {
		p.silences = 0
	}
	p.silences++
	p.silentAt = p.appended
}

// listener reads from the source, and gives up when it gets no byte for limit. The limit begins anew with every read, so
// that time in which nobody reads is no silence. Whoever wants to end a read ends ctx first and then sets a
// deadline in the past, as begin and run do.
type listener struct {
	conn  net.Conn
	limit time.Duration
	ctx   context.Context
}

func (l *listener) Read(p []byte) (int, error) {
	if err := l.conn.SetReadDeadline(time.Now().Add(l.limit)); err != nil {
		return 0, err
	}
	// In this order: when ours has replaced the deadline that was to wake us, ctx had ended before, and we see it here.
	if l.ctx.Err() != nil {
		return 0, context.Cause(l.ctx)
	}
	n, err := l.conn.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		if l.ctx.Err() != nil {
			return n, context.Cause(l.ctx)
		}
		err = fmt.Errorf("%w for %v", errSilent, l.limit)
	}
	return n, err
}
