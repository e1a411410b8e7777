package capture

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"tidemark/internal/position"
	"tidemark/internal/progress"
	"tidemark/internal/source"
)

// Capture is one source's capture. Loop or Run may be called by one goroutine at a time; the other methods at any time.
type Capture struct {
	cfg     Config
	metrics *metrics
	leaving chan struct{} // one signal for the connection that streams

	mu    sync.Mutex
	state positions
	clock clock
}

// positions is what reading and feedback share. Capture.mu guards it.
type positions struct {
	connected bool
	streamed  bool // the last connection came as far as streaming
	full      bool // the journal has no room
	// silences counts the connections that ended by the source's silence since appended last moved; silentAt is what it was.
	silences int
	silentAt position.LSN
	// handed is the end LSN of the last transaction or frontier that was given to the journal, appended that of the last one
	// which it accepted. handed moves first, because the journal may publish durability before Append returns.
	handed, appended position.LSN
	// committed is the end LSN of the last transaction with rows that the journal accepted.
	committed position.LSN
	// idle is the end LSN of the last frontier; it may be acknowledged once the journal holds it and the acknowledge set has
	// reached idleAfter, the last transaction before it: the frontier itself is no data that a copy could lack.
	idle, idleAfter position.LSN
	// reported and applied are the flush and apply positions that were sent last, over all connections.
	reported, applied position.LSN

	walEnd  position.LSN
	message position.Time // send time of the last message
	// sample waits until everything below its End was received, and then becomes point.
	sample    source.Sample
	point     position.Time // everything that had committed by then ends at or below pointAfter
	pointEnd  position.LSN
	confirmed position.Time
}

// New checks the configuration. It does not connect.
func New(cfg Config) (*Capture, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	m, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, fmt.Errorf("register capture metrics: %w", err)
	}
	return &Capture{cfg: cfg, metrics: m, leaving: make(chan struct{}, 1), state: positions{handed: cfg.Start, appended: cfg.Start, committed: cfg.Start, reported: cfg.Confirmed}}, nil
}

const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 10 * time.Second
)

// Loop runs one connection after the other until ctx ends, and then returns nil. It waits between attempts, up to 10
// seconds, and starts at the end of what was appended. It returns an error only when it must not go on: ErrRefused or ErrFatal.
func (c *Capture) Loop(ctx context.Context) error {
	backoff, lastText := minBackoff, ""
	for {
		err := c.Run(ctx)
		if errors.Is(err, ErrFatal) || errors.Is(err, ErrRefused) {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		if c.takeStreamed() {
			backoff, lastText = minBackoff, ""
		}
		if text := err.Error(); text != lastText {
			c.cfg.Log.Warn("capture is disconnected and will connect again", "error", err, "start", c.State().Received)
			lastText = text
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(backoff/2 + rand.N(backoff/2)):
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

func (c *Capture) takeStreamed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.state.streamed
	c.state.streamed = false
	return was
}

// Leave says that the source is shutting down. It waits until we have confirmed all that it has, which a full journal or a
// copy that is away can hold up for ever: the connection ends when the time that a copy usually needs is over. Nothing
// is lost by that: the slot keeps what was not confirmed.
func (c *Capture) Leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.connected {
		signal(c.leaving)
	}
}

// Observe takes a sample from the heartbeat: a moment on the source's clock and the end of WAL read after it.
func (c *Capture) Observe(s source.Sample) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.sample = s
	c.state.walEnd = max(c.state.walEnd, s.End)
	c.state.reachSample(c.state.appended)
}

// reachSample turns the sample into a point once everything below received has been received.
func (p *positions) reachSample(received position.LSN) {
	if p.sample.Time != 0 && received >= p.sample.End && p.sample.Time > p.point {
		p.point, p.pointEnd = p.sample.Time, p.appended
	}
}

// State is what capture knows of the source. Times are on the source's clock.
type State struct {
	// Connected is true while the source is streaming to us.
	Connected bool
	// Full is true while the journal has no room and reading waits.
	Full bool
	// Confirmed is the newest moment at which everything committed was durable in the journal.
	Confirmed position.Time
	// Offset is the source's clock minus ours.
	Offset time.Duration
	// WALEnd is the newest end of WAL that we were told.
	WALEnd position.LSN
	// Received is the end LSN of the last transaction or frontier that the journal accepted.
	Received position.LSN
	// Acknowledged is the flush position that was reported last.
	Acknowledged position.LSN
	// LastMessage is the send time of the last message; zero before the first.
	LastMessage position.Time
}

// State returns a snapshot.
func (c *Capture) State() State {
	mark, known := c.cfg.Board.Get(progress.Journal)
	c.mu.Lock()
	defer c.mu.Unlock()
	p := &c.state
	if known {
		// The commit time of a durable transaction is such a moment: whatever was committed by then stands before it. It may come
		// from another clock, through a replication origin, so it counts only up to what the source's own clock last said.
		p.confirmed = max(p.confirmed, min(mark.Time, p.message))
	}
	if p.point > p.confirmed && (known && mark.Stored >= p.pointEnd || p.pointEnd == c.cfg.Start) {
		p.confirmed = p.point
	}
	return State{
		Connected: p.connected, Full: p.full, Confirmed: p.confirmed, Offset: c.clock.offset(), WALEnd: max(p.walEnd, p.appended),
		Received: p.appended, Acknowledged: p.reported, LastMessage: p.message,
	}
}
