package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidemark/internal/planted"
)

// errSilent says that the server did not acknowledge in time. What it stored is not known.
var errSilent = errors.New("NATS server does not acknowledge")

// errTooLarge says that the stream does not take a message of this size.
var errTooLarge = errors.New("message is larger than the stream's max_msg_size")

// publisher sends messages in a pipeline with strict order. Each message names the sequence and the id of the message
// that must be the stream's last, so the server stores it only directly behind the one before it: after one refusal all
// later ones are refused too, no second publisher can put anything between, and an acknowledgement of one message stands
// for all before it. The sequence alone would not do: a foreign message takes the number of the refused one, and the
// message behind that finds the number it wants. After the first error the publisher is of no more use: what is stored is
// read from the stream.
type publisher struct {
	conn       *nats.Conn
	reply      string // replies to message n come to reply+n
	window     int
	windowSize int
	silence    time.Duration
	largest    int    // max_msg_size of the stream; not positive for none
	lastID     string // id of the last message that was sent; empty for none

	wake chan struct{} // holds a token when acked or err changed

	mu    sync.Mutex
	last  uint64 // sequence of the last message that was sent
	acked uint64
	sizes []int // bytes of the messages acked+1 … last
	bytes int
	err   error
}

// newPublisher returns a publisher that can only fail; start gives it what it needs to publish.
func newPublisher(cfg Config) *publisher {
	return &publisher{
		reply: nats.NewInbox() + ".", window: cfg.Window, windowSize: cfg.WindowBytes, silence: cfg.AckTimeout,
		wake: make(chan struct{}, 1),
	}
}

// start makes the publisher go on behind a stream's last message. The stream takes messages up to largest.
func (p *publisher) start(conn *nats.Conn, sequence uint64, id string, largest int32) error {
	p.conn, p.last, p.acked, p.lastID, p.largest = conn, sequence, sequence, id, int(largest)
	if _, err := conn.Subscribe(p.reply+"*", p.onReply); err != nil {
		return fmt.Errorf("subscribe to acknowledgements: %w", err)
	}
	return nil
}

// publish sends m behind all messages before it. It waits while the window is full. It changes the header of m, and
// keeps nothing of it.
func (p *publisher) publish(ctx context.Context, m *nats.Msg) error {
	size := m.Size()
	room := func() bool {
		return len(p.sizes) == 0 || len(p.sizes) < p.window && p.bytes+size <= p.windowSize
	}
	if err := p.await(ctx, room); err != nil {
		return err
	}
	before := p.sequence()
	m.Header[jetstream.ExpectedLastSeqHeader] = []string{strconv.FormatUint(before, 10)}
	if p.lastID != "" {
		m.Header[jetstream.ExpectedLastMsgIDHeader] = []string{p.lastID}
	}
	if planted.Is(planted.PublishWithoutID) && m.Header.Get(jetstream.MsgIDHeader) == "" {
		delete(m.Header, jetstream.ExpectedLastSeqHeader)
		delete(m.Header, jetstream.ExpectedLastMsgIDHeader)
	}
	m.Reply = p.reply + strconv.FormatUint(before+1, 10)
	if p.largest > 0 && headerSize(m.Header)+len(m.Data) > p.largest {
		return errTooLarge
	}
	p.sent(size)
	p.lastID = m.Header.Get(jetstream.MsgIDHeader)
	if err := p.conn.PublishMsg(m); err != nil {
		p.fail(err)
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}

// headerSize is a header's size on the wire: a version line, a line per value, an empty line.
func headerSize(h nats.Header) int {
	n := len("NATS/1.0\r\n") + len("\r\n")
	for name, values := range h {
		for _, v := range values {
			n += len(name) + len(": ") + len(v) + len("\r\n")
		}
	}
	return n
}

func (p *publisher) sent(size int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last++
	p.sizes = append(p.sizes, size)
	p.bytes += size
}

// drain waits until everything sent is acknowledged.
func (p *publisher) drain(ctx context.Context) error {
	return p.await(ctx, func() bool { return len(p.sizes) == 0 })
}

// sequence is that of the last message sent.
func (p *publisher) sequence() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// state returns the highest acknowledged sequence, and the error that ended the publisher.
func (p *publisher) state() (acked uint64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.acked, p.err
}

// await waits for a condition, which is evaluated under the lock. The server may take any time as long as it goes on
// acknowledging.
func (p *publisher) await(ctx context.Context, condition func() bool) error {
	var silent *time.Timer
	for before := uint64(0); ; {
		p.mu.Lock()
		ok, err, acked := condition(), p.err, p.acked
		p.mu.Unlock()
		if err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		if ok {
			return nil
		}
		if silent == nil {
			silent = time.NewTimer(p.silence)
			defer silent.Stop()
		} else if acked > before {
			silent.Reset(p.silence)
		}
		before = acked
		select {
		case <-p.wake:
		case <-silent.C:
			p.fail(fmt.Errorf("%w for %v", errSilent, p.silence))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// fail keeps the first error.
func (p *publisher) fail(err error) {
	p.mu.Lock()
	if p.err == nil {
		p.err = err
	}
	p.mu.Unlock()
	p.signal()
}

func (p *publisher) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// onReply runs on the subscription's goroutine.
func (p *publisher) onReply(m *nats.Msg) {
	seq, err := strconv.ParseUint(m.Subject[len(p.reply):], 10, 64)
	if err == nil {
		err = acknowledged(m, seq)
	}
	if err != nil {
		p.fail(err)
		return
	}
	p.mu.Lock()
	if seq > p.acked && seq <= p.last {
		n := int(seq - p.acked)
		for _, size := range p.sizes[:n] {
			p.bytes -= size
		}
		p.sizes = p.sizes[n:]
		p.acked = seq
	}
	p.mu.Unlock()
	p.signal()
}
