package world

import "net"

// pair is a connection through the proxy: both its ends.
type pair struct{ client, server *net.TCPConn }

// close and reset may be called again: how a connection that has ended ends is of no interest.
func (c *pair) close() {
	_ = c.client.Close()
	_ = c.server.Close()
}

func (c *pair) reset() {
	_ = c.client.SetLinger(0)
	_ = c.server.SetLinger(0)
	c.close()
}

// receiver is where a link writes to. It takes everything even if nobody receives it any more: a link whose writer gives up
// blocks its reader for ever.
type receiver struct {
	pair  *pair
	conn  *net.TCPConn
	ended func()
}

func (r *receiver) Write(b []byte) (int, error) {
	if _, err := r.conn.Write(b); err != nil {
		r.pair.close()
	}
	return len(b), nil
}

// Close is called by the link when it has written everything.
func (r *receiver) Close() error {
	err := r.conn.Close()
	r.ended()
	return err
}
