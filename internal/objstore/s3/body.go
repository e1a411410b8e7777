package s3

import (
	"context"
	"errors"
	"io"
	"net"
	"time"
)

func dialTimeout(d *net.Dialer) { d.Timeout = connectTimeout }

var errNoLength = errors.New("the store does not say how long the object is")

// body counts an object's bytes and gives up on a store that stops sending.
type body struct {
	r      io.ReadCloser
	left   int64
	cancel context.CancelFunc
	stall  *time.Timer
}

func newBody(r io.ReadCloser, length int64, cancel context.CancelFunc) *body {
	return &body{r: r, left: length, cancel: cancel, stall: time.AfterFunc(stallTimeout, cancel)}
}

// Read fails with io.ErrUnexpectedEOF when the store ends before the length that it announced.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.left -= int64(n)
	if n > 0 {
		b.stall.Reset(stallTimeout)
	}
	if errors.Is(err, io.EOF) && b.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Close gives the connection back.
func (b *body) Close() error {
	b.stall.Stop()
	err := b.r.Close()
	b.cancel()
	return err
}
