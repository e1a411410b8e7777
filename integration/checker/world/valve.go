package world

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"
)

// valve is the one toxic of a link, put in before the first connection and never taken out: what it does can be changed
// while data flows. Adding a toxic to a live link, or removing one, waits in the library until every peer of the proxy has
// read what is under way to it, for ever where the peer is paused, and drops what is not taken within five seconds.
type valve struct {
	setting atomic.Pointer[setting]
	// Links of generations up to dead are lost for good; age is the generation of those that begin now.
	age, dead atomic.Uint64
	grave     grave
}

// setting is what a valve does, until changed is closed.
type setting struct {
	toxic   toxics.Toxic
	changed chan struct{}
}

const valveType = "valve"

// registerValve makes the library know the valve: it makes toxics by name only.
var registerValve = sync.OnceFunc(func() { toxics.Register(valveType, new(valve)) })

// set changes what the valve does to links that are and will be. It is for one goroutine at a time.
func (v *valve) set(t toxics.Toxic) {
	old := v.setting.Swap(&setting{toxic: t, changed: make(chan struct{})})
	if old != nil {
		close(old.changed)
	}
}

// GetBufferSize is how many chunks of up to 32 KiB the network holds; without any, latency would limit the throughput.
func (v *valve) GetBufferSize() int { return 64 }

// Pipe carries one direction of one connection until its end.
func (v *valve) Pipe(stub *toxics.ToxicStub) {
	born := v.age.Load()
	for !stub.Closed() {
		s := v.setting.Load()
		if born < v.dead.Load() {
			v.grave.Pipe(stub)
			continue
		}
		ended, joined := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(joined)
			s.interrupt(stub, ended)
		}()
		s.toxic.Pipe(stub)
		close(ended)
		<-joined
	}
	// Whoever closed it before the sender did leaves the sender's data to us.
	for c := range stub.Input {
		_ = c
	}
}

func (s *setting) interrupt(stub *toxics.ToxicStub, ended <-chan struct{}) {
	select {
	case <-ended:
		return
	case <-s.changed:
	}
	select {
	case <-ended:
	case stub.Interrupt <- struct{}{}:
	}
}

// silence is a toxic: what is sent disappears, the end of the connection included, as when a network is cut in the middle.
// A connection that lost something ends when the silence does.
type silence struct{}

// Pipe loses data until it is interrupted.
func (silence) Pipe(stub *toxics.ToxicStub) {
	lost := false
	input := stub.Input
	for {
		select {
		case <-stub.Interrupt:
			if lost {
				stub.Close()
			}
			return
		case c := <-input:
			lost = true
			if c == nil {
				input = nil // the end, of which the other side will hear later
			}
		}
	}
}

// grave is a toxic for connections that are lost for good: what is sent disappears, and where the end is hidden, nobody hears of the other
// side's either.
type grave struct {
	hide bool
	quit <-chan struct{} // closed when the proxy ends
}

// Pipe loses data until the sender or the proxy ends.
func (g grave) Pipe(stub *toxics.ToxicStub) {
	input := stub.Input
	for {
		select {
		case <-g.quit:
			stub.Close()
			return
		case c := <-input:
			switch {
			case c != nil:
			case g.hide:
				input = nil
			default:
				stub.Close()
				return
			}
		}
	}
}

// throttle is a toxic that lets bytes a second through. Unlike the library's it loses nothing when it is taken away while the
// receiver does not read.
type throttle struct{ rate int }

const throttleTick = 50 * time.Millisecond

// Pipe sends a tick's worth of data each tick.
func (t throttle) Pipe(stub *toxics.ToxicStub) {
	piece := max(1, t.rate*int(throttleTick)/int(time.Second))
	for {
		select {
		case <-stub.Interrupt:
			return
		case c := <-stub.Input:
			if c == nil {
				stub.Close()
				return
			}
			if t.send(stub, c, piece) {
				return
			}
		}
	}
}

// send says whether it was interrupted; then it has sent the rest at once.
func (t throttle) send(stub *toxics.ToxicStub, c *stream.StreamChunk, piece int) (interrupted bool) {
	for len(c.Data) > 0 && !interrupted {
		n := min(piece, len(c.Data))
		select {
		case <-stub.Interrupt:
			interrupted, n = true, len(c.Data)
		case <-time.After(time.Duration(n) * time.Second / time.Duration(t.rate)):
		}
		stub.Output <- &stream.StreamChunk{Data: c.Data[:n], Timestamp: c.Timestamp}
		c.Data = c.Data[n:]
	}
	return interrupted
}
