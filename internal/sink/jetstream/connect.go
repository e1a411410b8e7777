package jetstream

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/nats-io/nats.go"
)

// dialer makes the client's dialing end with ctx, and keeps the socket, so that a test can cut it.
type dialer struct {
	ctx     context.Context
	timeout time.Duration
	last    net.Conn
}

func (d *dialer) Dial(network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: d.timeout}).DialContext(d.ctx, network, address)
	d.last = conn
	return conn, err
}

// connect opens a connection that never reconnects by itself: what was in flight when it broke can only be learned from
// the stream, so a broken connection ends the session and the Runner opens a new one.
func connect(ctx context.Context, cfg Config, lost func(error)) (*nats.Conn, *dialer, error) {
	d := &dialer{ctx: ctx, timeout: cfg.ConnectTimeout}
	opts := []nats.Option{
		nats.Name("tidemark"),
		nats.NoReconnect(),
		nats.Timeout(cfg.ConnectTimeout),
		nats.SetCustomDialer(d),
		nats.PingInterval(5 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.FlusherTimeout(10 * time.Second),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { lost(err) }),
		nats.ClosedHandler(func(c *nats.Conn) { lost(closedBy(c)) }),
	}
	if cfg.Credentials != "" {
		opts = append(opts, nats.UserCredentials(cfg.Credentials))
	}
	conn, err := nats.Connect(cfg.URL, opts...)
	if err != nil {
		return nil, nil, fmt.Errorf("connect to NATS: %w", err)
	}
	return conn, d, nil
}

func closedBy(c *nats.Conn) error {
	if err := c.LastError(); err != nil {
		return err
	}
	return nats.ErrConnectionClosed
}
