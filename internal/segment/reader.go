package segment

import (
	"errors"
	"io"
	"math"

	"tidemark/internal/position"
)

// Reader reads one segment frame by frame and checks each: checksums, and that it may stand behind the one before. One
// goroutine uses it.
type Reader struct {
	name   string
	win    window
	header Header
	block  []byte // the header's bytes
	seed   uint32
	place  int64
	order  order
	raw    []byte // bytes of the latest frame
	meta   []Rows
	footer *Footer
}

// NewReader reads the header of a segment of size bytes. Reading stops at size, even if src has more.
func NewReader(name string, src io.ReaderAt, size int64) (*Reader, error) {
	return newReader(window{name: name, src: src, limit: size})
}

// NewStreamReader reads a segment from its beginning to r's end. Its GoTo, Skip, LastPart and FrameAt must not be used.
func NewStreamReader(name string, r io.Reader) (*Reader, error) {
	return newReader(window{name: name, src: &forward{r: r}, limit: math.MaxInt64, stream: true})
}

func newReader(win window) (*Reader, error) {
	r := &Reader{name: win.name, win: win}
	h, block, err := readHeader(win.name, &r.win)
	if err != nil {
		return nil, err
	}
	r.header, r.seed, r.order = h, seedOf(h.Nonce), order{last: h.After}
	r.block = append(r.block, block...)
	r.place = int64(len(block))
	return r, nil
}

// Header is the segment's header.
func (r *Reader) Header() Header { return r.header }

// Place is where the next frame begins, in bytes.
func (r *Reader) Place() int64 { return r.place }

// Last is the end LSN of the last complete transaction that was read or skipped, Header.After before the first.
func (r *Reader) Last() position.LSN { return r.order.last }

// Footer returns the footer once Next has read the seal, that is, has returned io.EOF for a closed segment. False
// means that the segment goes on, or was cut off between two frames.
func (r *Reader) Footer() (Footer, bool) {
	if r.footer == nil {
		return Footer{}, false
	}
	return *r.footer, true
}

// SetLimit lets the reader go on to a file that has grown to size bytes.
func (r *Reader) SetLimit(size int64) { r.win.limit = size }

// GoTo goes to a place between two transactions. after is the end LSN of the one before.
func (r *Reader) GoTo(place int64, after position.LSN) {
	r.place, r.order, r.footer = place, order{last: after}, nil
}

// Next returns the next frame, a definition or a part. Meta and Payload are valid until the reader's next call.
// It returns io.EOF behind the seal and where the file ends between two frames; Footer tells the two apart.
// A *CorruptionError says that the frame at Place is damaged; the reader stays there.
func (r *Reader) Next() (Frame, error) {
	f, l, err := r.head()
	if err != nil {
		return Frame{}, err
	}
	next, reason := r.order.next(&f)
	if reason != "" {
		return Frame{}, r.corrupt(r.place, reason)
	}
	if r.raw, err = r.body(r.place, l); err != nil {
		return Frame{}, err
	}
	if reason := decodeBody(&f, l, r.raw[frameHead:], r.meta[:0]); reason != "" {
		return Frame{}, r.corrupt(r.place, reason)
	}
	if f.Kind == Seal {
		return Frame{}, r.seal(&f, l, next)
	}
	r.meta = f.Meta
	r.order = next
	r.place += l.size()
	return f, nil
}

// head reads the frame header at Place.
func (r *Reader) head() (Frame, lengths, error) {
	b, err := r.win.get(r.place, frameHead)
	switch {
	case err != nil:
		return Frame{}, lengths{}, err
	case len(b) == 0:
		return Frame{}, lengths{}, io.EOF
	case r.footer != nil:
		return Frame{}, lengths{}, r.corrupt(r.place, "bytes behind the seal")
	case len(b) < frameHead:
		return Frame{}, lengths{}, r.corrupt(r.place, "segment ends within a frame header")
	}
	f, l, reason := decodeHead(b, r.seed)
	if reason != "" {
		return Frame{}, lengths{}, r.corrupt(r.place, reason)
	}
	return f, l, nil
}

// body returns all bytes of the frame at place.
func (r *Reader) body(place int64, l lengths) ([]byte, error) {
	if l.size() > r.win.limit-place {
		return nil, r.corrupt(place, "segment ends within a frame")
	}
	b, err := r.win.get(place, int(l.size()))
	if err == nil && int64(len(b)) < l.size() {
		err = r.corrupt(place, "segment ends within a frame")
	}
	return b, err
}

// seal takes in the seal frame and makes sure that nothing follows. It returns io.EOF if all is well.
func (r *Reader) seal(f *Frame, l lengths, next order) error {
	footer, err := decodeFooter(f.Payload)
	if err != nil {
		return r.corrupt(r.place, err.Error())
	}
	if footer.Last != r.order.last {
		return r.corrupt(r.place, "footer's last transaction is not the last one")
	}
	r.footer, r.order = &footer, next
	r.place += l.size()
	b, err := r.win.get(r.place-l.size(), int(l.size())+1)
	if err != nil {
		return err
	}
	if int64(len(b)) > l.size() {
		return r.corrupt(r.place, "bytes behind the seal")
	}
	r.raw = b
	return io.EOF
}

// Skip goes over the next frame without reading its payload: Meta and Payload are not set, and only the header is
// checked. It returns io.EOF at the seal as well.
func (r *Reader) Skip() (Frame, error) {
	f, l, err := r.head()
	if err != nil {
		return Frame{}, err
	}
	next, reason := r.order.next(&f)
	if reason != "" {
		return Frame{}, r.corrupt(r.place, reason)
	}
	if l.size() > r.win.limit-r.place {
		return Frame{}, r.corrupt(r.place, "segment ends within a frame")
	}
	if f.Kind == Seal {
		return Frame{}, io.EOF
	}
	r.order = next
	r.place += l.size()
	return f, nil
}

// LastPart returns the header of the last part of the transaction that is open at Place, looking ahead.
func (r *Reader) LastPart() (Frame, error) {
	o := r.order
	for place := r.place; o.open; {
		f, l, err := r.peek(place)
		if err != nil {
			return Frame{}, err
		}
		next, reason := o.next(&f)
		if reason != "" {
			return Frame{}, r.corrupt(place, reason)
		}
		if f.Kind == Part && f.Last {
			return f, nil
		}
		o = next
		place += l.size()
	}
	return Frame{}, invalid("look for the last part where no transaction is open")
}

// FrameAt returns the frame at a place, in memory of its own. The reader's own place does not change.
func (r *Reader) FrameAt(place int64) (Frame, error) {
	f, l, err := r.peek(place)
	if err != nil {
		return Frame{}, err
	}
	win := window{name: r.name, src: r.win.src, limit: min(r.win.limit, place+l.size())}
	b, err := win.get(place, int(l.size()))
	if err != nil {
		return Frame{}, err
	}
	if int64(len(b)) < l.size() {
		return Frame{}, r.corrupt(place, "segment ends within a frame")
	}
	if reason := decodeBody(&f, l, b[frameHead:], nil); reason != "" {
		return Frame{}, r.corrupt(place, reason)
	}
	return f, nil
}

// peek reads a frame header without moving the window.
func (r *Reader) peek(place int64) (Frame, lengths, error) {
	if place < headerLead || place > r.win.limit-frameHead {
		return Frame{}, lengths{}, r.corrupt(place, "segment ends within a frame header")
	}
	var b [frameHead]byte
	if in := place - r.win.at; in >= 0 && in+frameHead <= int64(len(r.win.buf)) {
		copy(b[:], r.win.buf[in:])
	} else if n, err := r.win.src.ReadAt(b[:], place); n < len(b) {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return Frame{}, lengths{}, err
	}
	f, l, reason := decodeHead(b[:], r.seed)
	if reason != "" {
		return Frame{}, lengths{}, r.corrupt(place, reason)
	}
	return f, l, nil
}

func (r *Reader) corrupt(place int64, reason string) error {
	return &CorruptionError{Name: r.name, Position: place, Reason: reason}
}
