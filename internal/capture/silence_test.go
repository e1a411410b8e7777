package capture

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tidemark/internal/postgres/pgtest"
	"tidemark/internal/postgres/throwaway"
)

// TestSilentSource puts something between that takes all and passes nothing on, while TCP is content.
func TestSilentSource(t *testing.T) {
	c := pgtest.Start(t, throwaway.Options{Settings: map[string]string{"wal_sender_timeout": "'5s'"}})
	url := c.URL("postgres")
	pgtest.Exec(t, url, "create table a(id int primary key)")
	between := newSwallower(t, strings.Split(strings.Split(url, "@")[1], "/")[0])
	r := newRig(t, url, func(c *Config) { c.Source.URL = between.through(url) })
	r.start(t)
	r.marker(t)
	between.swallow()
	pgtest.Exec(t, url, "insert into a values (1)")
	began := time.Now()
	until(t, "the silence is noticed", func() bool { return !r.capture.State().Connected })
	if d := time.Since(began); d < 3*time.Second || d > 20*time.Second { // 5 s, on a machine that may be busy
		t.Errorf("it was noticed after %v", d)
	}
	r.marker(t)
	r.compare(t)
	if !r.capture.State().Connected {
		t.Error("it streams, and the state denies it")
	}
	if r.capture.state.silences != 1 {
		t.Errorf("%d silences were counted", r.capture.state.silences)
	}
}

// swallower passes connections on to a server. Those that it swallows stay open, and their bytes go nowhere.
type swallower struct {
	listen net.Listener
	server string

	mu    sync.Mutex
	conns []net.Conn
	mute  *atomic.Bool // of the connections that were made since the last swallow
	done  sync.WaitGroup
}

func newSwallower(t *testing.T, server string) *swallower {
	t.Helper()
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &swallower{listen: listen, server: server, mute: new(atomic.Bool)}
	s.done.Go(s.accept)
	t.Cleanup(func() {
		_ = listen.Close()
		s.mu.Lock()
		for _, c := range s.conns {
			_ = c.Close()
		}
		s.mu.Unlock()
		s.done.Wait()
	})
	return s
}

func (s *swallower) through(url string) string {
	return strings.Replace(url, s.server, s.listen.Addr().String(), 1)
}

// swallow takes the connections that there are; later ones are passed on.
func (s *swallower) swallow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mute.Store(true)
	s.mute = new(atomic.Bool)
}

func (s *swallower) accept() {
	for {
		client, err := s.listen.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", s.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		s.mu.Lock()
		s.conns = append(s.conns, client, server)
		mute := s.mute
		s.mu.Unlock()
		s.done.Go(func() { pass(client, server, mute) })
		s.done.Go(func() { pass(server, client, mute) })
	}
}

func pass(to, from net.Conn, mute *atomic.Bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			if !mute.Load() { // not even the end gets through
				_ = to.Close()
			}
			return
		}
		if !mute.Load() {
			_, _ = to.Write(buf[:n]) // its end shows at the next read
		}
	}
}

func TestListener(t *testing.T) {
	const limit = 50 * time.Millisecond
	open := func(t *testing.T, limit time.Duration) (context.CancelFunc, *listener, net.Conn) {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { _, _ = ours.Close(), theirs.Close() })
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel)
		return cancel, &listener{conn: ours, limit: limit, ctx: ctx}, theirs
	}
	buf := make([]byte, 8)
	t.Run("silence", func(t *testing.T) {
		_, l, _ := open(t, limit)
		if _, err := l.Read(buf); !errors.Is(err, errSilent) || !strings.Contains(err.Error(), "the source has been silent for 50ms") {
			t.Errorf("read ends with %v", err)
		}
	})
	t.Run("time in which nobody reads is no silence", func(t *testing.T) {
		_, l, theirs := open(t, limit)
		go func() { _, _ = theirs.Write([]byte("ab")) }()
		if _, err := io.ReadFull(l, buf[:1]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * limit) // the limit of the first read strikes nobody
		if _, err := io.ReadFull(l, buf[:1]); err != nil {
			t.Errorf("the second read ends with %v", err)
		}
	})
	t.Run("the end wakes a read", func(t *testing.T) {
		cancel, l, _ := open(t, time.Hour)
		context.AfterFunc(l.ctx, func() { _ = l.conn.SetDeadline(time.Unix(1, 0)) })
		time.AfterFunc(limit, cancel)
		if _, err := l.Read(buf); !errors.Is(err, context.Canceled) {
			t.Errorf("read ends with %v", err)
		}
	})
	t.Run("the end was before the read", func(t *testing.T) {
		cancel, l, _ := open(t, time.Hour)
		cancel()
		if _, err := l.Read(buf); !errors.Is(err, context.Canceled) {
			t.Errorf("read ends with %v", err)
		}
	})
}

func TestSilenceLimit(t *testing.T) {
	c := &Capture{}
	for patience, want := range map[time.Duration]time.Duration{
		0: time.Minute, time.Second: 5 * time.Second, 15 * time.Second: 15 * time.Second, time.Hour: time.Hour,
	} {
		if got := c.silence(patience); got != want {
			t.Errorf("a source with the patience %v may be silent for %v, want %v", patience, got, want)
		}
	}
	c.state.appended = 7
	for i, seconds := range []int{20, 40, 80, 160, 160} {
		want := time.Duration(seconds) * time.Second
		c.silenced()
		if got := c.silence(10 * time.Second); got != want {
			t.Errorf("after silence %d the limit is %v, want %v", i+1, got, want)
		}
	}
	c.state.appended++
	if got := c.silence(10 * time.Second); got != 10*time.Second {
		t.Errorf("the limit stays %v though something was received", got)
	}
}

// BenchmarkListener reads single messages from a socket, with and without a limit.
func BenchmarkListener(b *testing.B) {
	for _, limited := range []bool{false, true} {
		name := map[bool]string{false: "plain", true: "limited"}[limited]
		b.Run(name, func(b *testing.B) {
			listen, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer listen.Close()
			ours, err := net.Dial("tcp", listen.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			defer ours.Close()
			theirs, err := listen.Accept()
			if err != nil {
				b.Fatal(err)
			}
			go func() {
				chunk := make([]byte, 64<<10)
				for {
					if _, err := theirs.Write(chunk); err != nil {
						return
					}
				}
			}()
			defer theirs.Close()
			var in io.Reader = ours
			if limited {
				in = &listener{conn: ours, limit: time.Minute, ctx: b.Context()}
			}
			buf := make([]byte, 100)
			for b.Loop() {
				if _, err := in.Read(buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
