package apply_test

import (
	"bytes"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"tidemark/internal/change"
)

// cutAtCommit puts a relay before a server that breaks the connection at COMMIT: behind it, when forward is set, so that
// the server commits and its answer is lost; otherwise before it.
func cutAtCommit(t *testing.T, target string, forward bool) string {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	server := u.Host
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { relay(client, server, forward) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	u.Host = l.Addr().String()
	return u.String()
}

func relay(client net.Conn, server string, forward bool) {
	defer client.Close()
	up, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	silent := false
	wg.Go(func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := up.Read(buf)
			mu.Lock()
			if !silent {
				_, _ = client.Write(buf[:n])
			}
			mu.Unlock()
			if err != nil {
				_ = client.Close()
				return
			}
		}
	})
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if bytes.Contains(buf[:n], []byte("\x00commit\x00")) {
			mu.Lock()
			silent = true
			mu.Unlock()
			if forward {
				_, _ = up.Write(buf[:n])
			}
			break
		}
		if _, werr := up.Write(buf[:n]); err != nil || werr != nil {
			break
		}
	}
	_ = client.Close()
	_, _ = io.WriteString(up, "X\x00\x00\x00\x04") // the server ends when it has done what it was told
	wg.Wait()
	_ = up.Close()
}

// changeOf is a row that would be applied if anything were.
func changeOf(t *testing.T) change.Row {
	t.Helper()
	rel := &change.Relation{Schema: "public", Name: "a", Identity: change.IdentityDefault}
	return change.Row{Op: change.Insert, Relation: rel, New: []change.Value{}}
}
