package postgres

import (
	"context"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// How long the kernel waits for a peer that went away without a word. A peer that is there but takes nothing for so long,
// while more than the sockets' buffers hold is on its way to it, counts as gone too: Linux has one limit for both. A sender of WAL
// reads at all times; a server that takes rows may stall, for a checkpoint or a lock, and a long COPY must outlive that.
const (
	senderGoneAfter  = 30 * time.Second
	sessionGoneAfter = 2 * time.Minute
)

// noticeGone lets the kernel find a peer that went away without a word, on every connection that cfg makes.
func noticeGone(cfg *pgconn.Config, after time.Duration) {
	dial := cfg.DialFunc
	cfg.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if t, ok := conn.(*net.TCPConn); ok { // the other kind is a Unix socket, whose peer cannot go without a word
			keepAlive(t, after)
		}
		return conn, nil
	}
}

// keepAlive asks an idle peer whether it is there, and bounds how long sent data may stay unacknowledged. Where it
// cannot be set, the connection merely takes longer to be found dead.
func keepAlive(conn *net.TCPConn, after time.Duration) {
	_ = conn.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 4})
	setUserTimeout(conn, after)
}
