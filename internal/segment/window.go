package segment

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// chunk is how much is read at once, in bytes.
const chunk = 256 << 10

// window reads ahead. It takes memory only for bytes that it has really read, whatever a length field says.
type window struct {
	name  string
	src   io.ReaderAt
	limit int64 // nothing is read from here on
	// stream is set when src has an end of its own, which sets limit when it is met.
	stream bool
	buf    []byte
	at     int64 // place of buf's first byte
}

// get returns the n bytes at place, fewer only at the end. They are valid until the next call.
func (w *window) get(place int64, n int) ([]byte, error) {
	if place < w.at || place > w.at+int64(len(w.buf)) {
		w.at, w.buf = place, w.buf[:0]
	}
	if have := w.buf[place-w.at:]; len(have) >= n {
		return have[:n:n], nil
	}
	w.buf = w.buf[:copy(w.buf, w.buf[place-w.at:])]
	w.at = place
	for len(w.buf) < n {
		more, err := w.grow(n)
		if err != nil {
			return nil, err
		}
		if !more {
			return w.buf[:len(w.buf):len(w.buf)], nil
		}
	}
	return w.buf[:n:n], nil
}

// grow reads some more: at least a chunk, and at most twice what is there already.
func (w *window) grow(n int) (bool, error) {
	have := len(w.buf)
	from := w.at + int64(have)
	step := min(int64(max(chunk, min(n-have, have))), w.limit-from)
	if step <= 0 {
		return false, nil
	}
	w.buf = slices.Grow(w.buf, int(step))
	got, err := w.src.ReadAt(w.buf[have:have+int(step)], from)
	w.buf = w.buf[:have+got]
	switch {
	case int64(got) == step:
		return true, nil
	case w.stream && errors.Is(err, io.EOF):
		w.limit = from + int64(got)
		return got > 0, nil
	case err == nil || errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	return false, fmt.Errorf("read segment %s at byte %d: %w", w.name, from+int64(got), err)
}

// forward makes an io.Reader an io.ReaderAt for a window that never goes back.
type forward struct {
	r    io.Reader
	from int64
}

func (f *forward) ReadAt(p []byte, place int64) (int, error) {
	if place != f.from {
		return 0, fmt.Errorf("read a stream at byte %d, which stands at %d", place, f.from)
	}
	n, err := io.ReadFull(f.r, p)
	f.from += int64(n)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}
