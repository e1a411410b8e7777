package world

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// echo is a server that sends back what it gets, and counts its connections' ends.
type echo struct {
	address string
	ends    chan error
}

func newEcho(t *testing.T) *echo {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	e := &echo{address: l.Addr().String(), ends: make(chan error, 1000)}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, err := io.Copy(struct{ io.Writer }{conn}, struct{ io.Reader }{conn})
				e.ends <- err
			}()
		}
	}()
	return e
}

// end waits for the end of a connection.
func (e *echo) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-e.ends:
		return err
	case <-time.After(5 * time.Second):
		t.Fatal("no connection ends")
		return nil
	}
}

func startProxy(t *testing.T) (*Proxy, *echo) {
	t.Helper()
	e := newEcho(t)
	p, err := newProxy(t.Context(), "test", e.address)
	must(t, err)
	t.Cleanup(func() {
		if err := p.close(); err != nil {
			t.Error(err)
		}
	})
	return p, e
}

func dial(t *testing.T, p *Proxy) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", p.Address())
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.TCPConn)
}

// round sends text and waits for it; it returns how long that took.
func round(t *testing.T, conn net.Conn, text string, limit time.Duration) (time.Duration, error) {
	t.Helper()
	begin := time.Now()
	must(t, conn.SetDeadline(begin.Add(limit)))
	if _, err := io.WriteString(conn, text); err != nil {
		return 0, err
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(conn, got); err != nil {
		return 0, err
	}
	if string(got) != text {
		t.Fatalf("%d bytes came back other than they were sent", len(text))
	}
	return time.Since(begin), nil
}

func ok(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := round(t, conn, "hello", 5*time.Second); err != nil {
		t.Fatalf("what is sent does not come back: %v", err)
	}
}

func TestLatency(t *testing.T) {
	p, _ := startProxy(t)
	conn := dial(t, p)
	ok(t, conn)
	must(t, p.Latency(150*time.Millisecond, 20*time.Millisecond))
	if took, err := round(t, conn, "hello", 5*time.Second); err != nil || took < 250*time.Millisecond {
		t.Errorf("with latency: %v, %v", took, err)
	}
	must(t, p.Heal())
	if took, err := round(t, conn, "hello", 5*time.Second); err != nil || took > 140*time.Millisecond {
		t.Errorf("healed: %v, %v", took, err)
	}
}

func TestBandwidth(t *testing.T) {
	p, _ := startProxy(t)
	conn := dial(t, p)
	must(t, p.Bandwidth(100))
	text := string(bytes.Repeat([]byte("0123456789"), 3000))
	if took, err := round(t, conn, text, 5*time.Second); err != nil || took < 200*time.Millisecond {
		t.Errorf("30 kB took %v, %v", took, err)
	}
	must(t, p.Bandwidth(1))
	time.AfterFunc(100*time.Millisecond, func() { _ = p.Heal() })
	if took, err := round(t, conn, text, 5*time.Second); err != nil || took > 2*time.Second {
		t.Errorf("healed under way: %v, %v", took, err)
	}
}

func TestCut(t *testing.T) {
	p, e := startProxy(t)
	conn := dial(t, p)
	ok(t, conn)
	must(t, p.Cut())
	must(t, p.Cut())
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("reading after a cut: %v", err)
	}
	_ = e.end(t)
	if _, err := net.Dial("tcp", p.Address()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("connecting while cut: %v", err)
	}
	must(t, p.Heal())
	ok(t, dial(t, p))
}

func TestReset(t *testing.T) {
	p, e := startProxy(t)
	conn := dial(t, p)
	ok(t, conn)
	must(t, p.Reset())
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client sees %v", err)
	}
	if err := e.end(t); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the server sees %v", err)
	}
	ok(t, dial(t, p))
}

func TestHalfOpen(t *testing.T) {
	p, e := startProxy(t)
	quiet, busy, leaver := dial(t, p), dial(t, p), dial(t, p)
	ok(t, quiet)
	ok(t, busy)
	ok(t, leaver)
	must(t, p.HalfOpen())
	eventually(t, 5*time.Second, "a half-open hop is silent", func() bool {
		_, err := round(t, busy, "lost", 100*time.Millisecond)
		return errors.Is(err, os.ErrDeadlineExceeded)
	})
	fresh := dial(t, p)
	if _, err := round(t, fresh, "lost", 100*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a new connection through a half-open hop: %v", err)
	}
	must(t, leaver.Close())
	select {
	case err := <-e.ends:
		t.Errorf("the server heard of an end: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	must(t, p.Heal())
	for range 3 { // busy, fresh, leaver
		_ = e.end(t)
	}
	for _, conn := range []net.Conn{busy, fresh} {
		must(t, conn.SetDeadline(time.Now().Add(5*time.Second)))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a connection that lost something: %v", err)
		}
	}
	ok(t, quiet)
}

// What was sent while replies are lost has arrived: that is the point of it.
func TestLoseReplies(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	p, err := newProxy(t.Context(), "test", l.Addr().String())
	must(t, err)
	defer func() { must(t, p.close()) }()
	arrived := make(chan []byte, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		b := make([]byte, 4)
		_, _ = io.ReadFull(conn, b)
		_, _ = conn.Write([]byte("done"))
		arrived <- b
		_, _ = io.Copy(io.Discard, conn)
	}()
	must(t, p.LoseReplies())
	conn := dial(t, p)
	if _, err := round(t, conn, "work", 200*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the reply: %v", err)
	}
	if b := <-arrived; string(b) != "work" {
		t.Errorf("%q arrived", b)
	}
	must(t, p.Heal())
	must(t, conn.SetDeadline(time.Now().Add(5*time.Second)))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a connection that lost a reply: %v", err)
	}
}

func TestAbandon(t *testing.T) {
	p, e := startProxy(t)
	lost, leaver := dial(t, p), dial(t, p)
	ok(t, lost)
	ok(t, leaver)
	must(t, p.Abandon())
	ok(t, dial(t, p))
	must(t, p.Heal())
	if _, err := round(t, lost, "lost", 200*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a lost connection: %v", err)
	}
	must(t, leaver.Close())
	_ = e.end(t)
	ok(t, dial(t, p))
}

// Every setting follows every other, while nobody reads, and what is set last works.
func TestEverySettingAfterEveryOther(t *testing.T) {
	p, _ := startProxy(t)
	settings := map[string]func() error{
		"latency":   func() error { return p.Latency(20*time.Millisecond, 20*time.Millisecond) },
		"bandwidth": func() error { return p.Bandwidth(50) },
		"cut":       p.Cut, "reset": p.Reset, "half-open": p.HalfOpen, "lost replies": p.LoseReplies, "abandoned": p.Abandon, "heal": p.Heal,
	}
	for a, first := range settings {
		for b, second := range settings {
			must(t, p.Heal())
			flood(t, dial(t, p))
			begin := time.Now()
			must(t, first())
			must(t, second())
			if took := time.Since(begin); took > 2*time.Second {
				t.Fatalf("%s after %s took %v", b, a, took)
			}
			must(t, p.Heal())
			ok(t, dial(t, p))
		}
	}
}

// flood fills all buffers of a connection that nobody reads.
func flood(t *testing.T, conn net.Conn) {
	t.Helper()
	block := make([]byte, 1<<20)
	for {
		must(t, conn.SetWriteDeadline(time.Now().Add(3*time.Millisecond)))
		if _, err := conn.Write(block); err != nil {
			return
		}
	}
}

// What a paused reader has not taken yet comes when it goes on, whatever was set meanwhile.
func TestNothingIsLostBehindASlowReader(t *testing.T) {
	p, _ := startProxy(t)
	conn := dial(t, p)
	sent := make(chan int, 1)
	block := make([]byte, 64<<10)
	for i := range block {
		block[i] = byte(i % 251)
	}
	go func() {
		total := 0
		for ; total < 24<<20; total += len(block) {
			if _, err := conn.Write(block); err != nil {
				break
			}
		}
		sent <- total
	}()
	for range 5 {
		must(t, p.Latency(5*time.Millisecond, 0))
		must(t, p.Bandwidth(10))
		time.Sleep(20 * time.Millisecond)
		must(t, p.Heal())
	}
	got := 0
	buffer := make([]byte, len(block))
	for got < 24<<20 {
		must(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
		if _, err := io.ReadFull(conn, buffer); err != nil {
			t.Fatalf("after %d bytes: %v", got, err)
		}
		if !bytes.Equal(buffer, block) {
			t.Fatalf("wrong bytes behind %d", got)
		}
		got += len(buffer)
	}
	if total := <-sent; total != got {
		t.Errorf("%d of %d bytes", got, total)
	}
}

func TestServerDown(t *testing.T) {
	p, err := newProxy(t.Context(), "test", "127.0.0.1:1")
	must(t, err)
	conn := dial(t, p)
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("an answer of no server")
	}
	must(t, p.close())
	must(t, p.close())
	if p.Heal() == nil {
		t.Error("a closed proxy is healed")
	}
}
