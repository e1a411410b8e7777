package world

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/rs/zerolog"
)

// Proxy is a hop that can be broken. Each setting replaces the one before, and Heal takes the last one back. All methods are
// for any goroutine and do not wait for traffic: what is under way when they return may still go through as before.
//
// Links and toxics are the library's; accepting and closing are ours, since its proxy can neither reset connections at once
// nor be stopped while a peer does not read.
type Proxy struct {
	address, upstream string
	api               *toxiproxy.ApiServer
	links             *toxiproxy.ToxicCollection
	up, down          *valve

	mu       sync.Mutex
	listener net.Listener // nil while cut
	pairs    map[*pair]struct{}
	ending   chan struct{} // closed by Close
	work     sync.WaitGroup
}

func newProxy(ctx context.Context, name, upstream string) (*Proxy, error) {
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	p := &Proxy{address: loopback(port), upstream: upstream, pairs: map[*pair]struct{}{}, ending: make(chan struct{})}
	p.api = toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p.links = toxiproxy.NewProxy(p.api, name, p.address, upstream).Toxics
	registerValve()
	if p.up, err = p.valve("upstream"); err != nil {
		return nil, err
	}
	if p.down, err = p.valve("downstream"); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p, p.open()
}

func (p *Proxy) valve(direction string) (*valve, error) {
	w, err := p.links.AddToxicJson(strings.NewReader(fmt.Sprintf(`{"type": %q, "stream": %q}`, valveType, direction)))
	if err != nil {
		return nil, fmt.Errorf("make proxy: %w", err)
	}
	v := w.Toxic.(*valve)
	v.grave = grave{hide: direction == "downstream", quit: p.ending}
	v.set(new(toxics.NoopToxic))
	return v, nil
}

// Address is where the proxy listens, as host:port; it stays the same.
func (p *Proxy) Address() string { return p.address }

// open listens unless it does already. The caller holds the lock.
func (p *Proxy) open() error {
	if p.listener != nil {
		return nil
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", p.address)
	if err != nil {
		return fmt.Errorf("open proxy: %w", err)
	}
	p.listener = l
	p.work.Go(func() { p.accept(l) })
	return nil
}

func (p *Proxy) accept(l net.Listener) {
	for {
		client, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			p.work.Go(func() { p.connect(l, client.(*net.TCPConn)) })
			continue
		}
		select {
		case <-p.ending:
		case <-time.After(10 * time.Millisecond): // such as too many open files
		}
	}
}

// connect links an accepted connection with one to the server. Without one it is closed, as by a server that goes down.
func (p *Proxy) connect(l net.Listener, client *net.TCPConn) {
	server, err := (&net.Dialer{Timeout: 5 * time.Second}).Dial("tcp", p.upstream)
	if err != nil {
		_ = client.Close()
		return
	}
	c := &pair{client: client, server: server.(*net.TCPConn)}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != l { // cut meanwhile
		c.close()
		return
	}
	p.pairs[c] = struct{}{}
	p.work.Add(2)
	name := client.RemoteAddr().String()
	p.links.StartLink(p.api, name+"upstream", client, &receiver{c, c.server, p.ended(c)}, stream.Upstream)
	p.links.StartLink(p.api, name+"downstream", server, &receiver{c, c.client, p.ended(c)}, stream.Downstream)
}

// ended is what a link calls once, at its end.
func (p *Proxy) ended(c *pair) func() {
	return sync.OnceFunc(func() {
		defer p.work.Done()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.pairs, c)
	})
}

// Latency delays what goes through, in each direction, by d give or take the jitter. Milliseconds are the unit.
func (p *Proxy) Latency(d, jitter time.Duration) error {
	return p.set(&toxics.LatencyToxic{Latency: d.Milliseconds(), Jitter: min(jitter, d).Milliseconds()}, nil)
}

// Bandwidth limits each direction of each connection to so many KB (1000 bytes) a second; 1 at least.
func (p *Proxy) Bandwidth(rate int) error {
	return p.set(throttle{max(rate, 1) * 1000}, nil)
}

// HalfOpen loses all data and hides the end of connections from the other side, as a network that is cut in the middle.
// Connections are accepted. Those that lost something end with Heal or the next setting.
func (p *Proxy) HalfOpen() error { return p.set(silence{}, nil) }

// Abandon loses all present connections for good, as a router that forgot them: what is sent on them disappears, the client never hears that the
// server closed them, and nothing brings them back. New ones are served, as after Heal.
func (p *Proxy) Abandon() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, v := range []*valve{p.up, p.down} {
		v.dead.Store(v.age.Add(1))
	}
	p.change(new(toxics.NoopToxic), nil)
	return p.ready()
}

// LoseReplies lets everything through to the server and nothing back, so that what the client did has happened and it does not know.
// Connections that lost something end with Heal or the next setting.
func (p *Proxy) LoseReplies() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.up.set(new(toxics.NoopToxic))
	p.down.set(silence{})
	return p.ready()
}

// Cut closes all connections and refuses new ones.
func (p *Proxy) Cut() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.change(new(toxics.NoopToxic), (*pair).close)
	return p.shut()
}

// Reset ends all connections with RST, to both sides. New ones are served, as after Heal.
func (p *Proxy) Reset() error { return p.set(new(toxics.NoopToxic), (*pair).reset) }

// Heal lets everything through again.
func (p *Proxy) Heal() error { return p.set(new(toxics.NoopToxic), nil) }

func (p *Proxy) set(t toxics.Toxic, all func(*pair)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.change(t, all)
	return p.ready()
}

// ready lets connections in. The caller holds the lock.
func (p *Proxy) ready() error {
	select {
	case <-p.ending:
		return errors.New("the proxy is closed")
	default:
		return p.open()
	}
}

// change does something to all connections, if anything, and sets the valves. The caller holds the lock.
func (p *Proxy) change(t toxics.Toxic, all func(*pair)) {
	if all != nil {
		for c := range p.pairs {
			all(c)
		}
	}
	p.up.set(t)
	p.down.set(t)
}

// shut stops listening. The caller holds the lock.
func (p *Proxy) shut() error {
	l := p.listener
	p.listener = nil
	if l == nil {
		return nil
	}
	return l.Close()
}

// close ends the proxy and everything that it runs.
func (p *Proxy) close() error {
	p.mu.Lock()
	select {
	case <-p.ending:
	default:
		close(p.ending)
	}
	p.change(new(toxics.NoopToxic), (*pair).close)
	err := p.shut()
	p.mu.Unlock()
	p.work.Wait()
	return err
}
