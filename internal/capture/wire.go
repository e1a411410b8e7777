package capture

import (
	"encoding/binary"
	"fmt"
	"io"
)

const (
	wireBuffer = 256 << 10
	// maxMessage is above what a server can send: a message is built in memory of at most 1 GiB.
	maxMessage = 1<<30 + 1<<16
)

// wire reads the server's messages from the connection. A message is a kind, a length, and a body
// (https://www.postgresql.org/docs/current/protocol-message-formats.html). Small ones are read in bulk into one buffer;
// one that does not fit gets memory of its own for as long as it is looked at.
type wire struct {
	in         io.Reader
	buf        []byte
	start, end int
}

func newWire(in io.Reader) *wire { return &wire{in: in, buf: make([]byte, wireBuffer)} }

// next returns the next message. The body is valid until the next call.
func (w *wire) next() (kind byte, body []byte, err error) {
	if err := w.fill(5); err != nil {
		return 0, nil, err
	}
	kind = w.buf[w.start]
	length := int(binary.BigEndian.Uint32(w.buf[w.start+1:]))
	if length < 4 || length > maxMessage {
		return 0, nil, fmt.Errorf("read message: a length of %d bytes is impossible", length)
	}
	total := length + 1
	if total > len(w.buf) {
		body, err = w.large(total)
		return kind, body, err
	}
	if err := w.fill(total); err != nil {
		return 0, nil, err
	}
	body = w.buf[w.start+5 : w.start+total : w.start+total]
	w.start += total
	return kind, body, nil
}

// fill makes sure that n bytes stand in the buffer from start.
func (w *wire) fill(n int) error {
	if w.end-w.start >= n {
		return nil
	}
	if w.start+n > len(w.buf) || w.start == w.end {
		w.end = copy(w.buf, w.buf[w.start:w.end])
		w.start = 0
	}
	for w.end-w.start < n {
		got, err := w.in.Read(w.buf[w.end:])
		w.end += got
		if err != nil && w.end-w.start < n {
			return err
		}
	}
	return nil
}

func (w *wire) large(total int) ([]byte, error) {
	message := make([]byte, total)
	n := copy(message, w.buf[w.start:w.end])
	w.start, w.end = 0, 0
	if _, err := io.ReadFull(w.in, message[n:]); err != nil {
		return nil, err
	}
	return message[5:], nil
}
