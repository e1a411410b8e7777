package world

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"
)

// ArchiveFaults is what can go wrong with requests to the store: an HTTP proxy between the hop and the server. Several faults
// may be set at once, and Heal takes all back. All methods are for any goroutine.
type ArchiveFaults struct {
	address   string
	server    *http.Server
	transport *http.Transport
	served    sync.WaitGroup

	mu     sync.Mutex // guards what follows
	random *rand.Rand
	refuse float64
	lose   float64
	stall  time.Duration
	healed chan struct{} // closed by Heal, when there is a stall
	struck int
}

var errLost = errors.New("the reply is lost")

func newArchiveFaults(ctx context.Context, upstream string) (*ArchiveFaults, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open proxy of the store: %w", err)
	}
	f := &ArchiveFaults{
		address: l.Addr().String(), healed: make(chan struct{}), random: rand.New(rand.NewPCG(0, 0)),
		transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 20},
	}
	target := &url.URL{Scheme: "http", Host: upstream}
	silent := slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	proxy := &httputil.ReverseProxy{
		Transport: f.transport, ErrorLog: silent, ErrorHandler: dropConnection,
		// The signature covers the Host header.
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
		ModifyResponse: f.loseReply,
	}
	f.server = &http.Server{Handler: f.handler(proxy), ErrorLog: silent, ReadHeaderTimeout: time.Minute}
	f.served.Go(func() { _ = f.server.Serve(l) }) // ends with Close
	return f, nil
}

func (f *ArchiveFaults) handler(proxy http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f.wait(r.Context()) != nil {
			return
		}
		if f.strikes(&f.refuse) {
			slowDown(w)
			return
		}
		proxy.ServeHTTP(w, r)
	})
}

// wait stalls until the time is over, the client gives up, or Heal.
func (f *ArchiveFaults) wait(ctx context.Context) error {
	f.mu.Lock()
	d, healed := f.stall, f.healed
	if d > 0 {
		f.struck++
	}
	f.mu.Unlock()
	if d == 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-healed:
	case <-time.After(d):
	}
	return nil
}

func (f *ArchiveFaults) strikes(share *float64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if *share == 0 || f.random.Float64() >= *share {
		return false
	}
	f.struck++
	return true
}

// loseReply comes when the store has answered: it has done what was asked.
func (f *ArchiveFaults) loseReply(r *http.Response) error {
	if m := r.Request.Method; m != http.MethodGet && m != http.MethodHead && f.strikes(&f.lose) {
		return errLost
	}
	return nil
}

// dropConnection answers nothing: as far as the client knows, the server is gone.
func dropConnection(w http.ResponseWriter, _ *http.Request, _ error) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	_ = conn.Close()
}

// slowDown answers as S3 does when there is too much to do.
func slowDown(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = io.WriteString(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>`)
}

// Answer503 answers a share (0 to 1) of the requests with 503 SlowDown; the store does not see them. r is asked for a seed.
func (f *ArchiveFaults) Answer503(share float64, r *rand.Rand) { f.set(&f.refuse, share, r) }

// LoseReply lets the store perform a share (0 to 1) of the requests that are no reads, and then closes the connection
// instead of passing the answer on. r is asked for a seed.
func (f *ArchiveFaults) LoseReply(share float64, r *rand.Rand) { f.set(&f.lose, share, r) }

func (f *ArchiveFaults) set(which *float64, share float64, r *rand.Rand) {
	seed := r.Uint64()
	f.mu.Lock()
	defer f.mu.Unlock()
	*which, f.random = share, rand.New(rand.NewPCG(seed, 0x503))
}

// Stall holds every request back for d, before the store sees it.
func (f *ArchiveFaults) Stall(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stall = d
}

// Heal passes everything on again, requests that are being held back first.
func (f *ArchiveFaults) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse, f.lose, f.stall = 0, 0, 0
	close(f.healed)
	f.healed = make(chan struct{})
}

// Struck is how many requests a fault has hit since the start.
func (f *ArchiveFaults) Struck() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.struck
}

func (f *ArchiveFaults) close() error {
	err := f.server.Close()
	f.served.Wait()
	f.transport.CloseIdleConnections()
	return err
}
