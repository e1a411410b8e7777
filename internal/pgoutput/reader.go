package pgoutput

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"tidemark/internal/change"
)

// ErrMalformed says that bytes are not a message of the protocol. Every parsing error of this package wraps it.
var ErrMalformed = errors.New("malformed pgoutput message")

var (
	errKind       = fmt.Errorf("%w: unexpected message kind", ErrMalformed)
	errShort      = fmt.Errorf("%w: it ends within a field", ErrMalformed)
	errTrailing   = fmt.Errorf("%w: bytes follow its last field", ErrMalformed)
	errTuple      = fmt.Errorf("%w: unknown tuple mark", ErrMalformed)
	errValueKind  = fmt.Errorf("%w: unknown value kind", ErrMalformed)
	errFlags      = fmt.Errorf("%w: unknown commit flags", ErrMalformed)
	errIdentity   = fmt.Errorf("%w: unknown replica identity", ErrMalformed)
	errNoRelation = fmt.Errorf("%w: truncate of no relation", ErrMalformed)
	errColumns    = fmt.Errorf("%w: negative number of columns", ErrMalformed)
)

// reader takes fields off the front of a message. After the first error every read gives zero and the error stays.
type reader struct {
	rest []byte
	err  error
}

// open checks a message's kind and gives a reader of what follows it.
func open(msg []byte, kind byte) reader {
	if len(msg) == 0 || msg[0] != kind {
		return reader{err: errKind}
	}
	return reader{rest: msg[1:]}
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.rest = nil
}

// take gives the next n bytes, which alias the message.
func (r *reader) take(n uint32) []byte {
	if uint64(n) > uint64(len(r.rest)) {
		r.fail(errShort)
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) u8() byte {
	if len(r.rest) < 1 {
		r.fail(errShort)
		return 0
	}
	v := r.rest[0]
	r.rest = r.rest[1:]
	return v
}

func (r *reader) u16() uint16 {
	if len(r.rest) < 2 {
		r.fail(errShort)
		return 0
	}
	v := binary.BigEndian.Uint16(r.rest)
	r.rest = r.rest[2:]
	return v
}

func (r *reader) u32() uint32 {
	if len(r.rest) < 4 {
		r.fail(errShort)
		return 0
	}
	v := binary.BigEndian.Uint32(r.rest)
	r.rest = r.rest[4:]
	return v
}

func (r *reader) u64() uint64 {
	if len(r.rest) < 8 {
		r.fail(errShort)
		return 0
	}
	v := binary.BigEndian.Uint64(r.rest)
	r.rest = r.rest[8:]
	return v
}

// text gives the bytes up to the next zero byte and passes over it.
func (r *reader) text() []byte {
	end := bytes.IndexByte(r.rest, 0)
	if end < 0 {
		r.fail(errShort)
		return nil
	}
	b := r.rest[:end]
	r.rest = r.rest[end+1:]
	return b
}

// columns gives a number of columns, an int16 in the protocol.
func (r *reader) columns() int {
	n := int16(r.u16())
	if n < 0 {
		r.fail(errColumns)
		return 0
	}
	return int(n)
}

// tuple appends a tuple's values to into. Their data alias the message.
func (r *reader) tuple(into []change.Value) []change.Value {
	for n := r.columns(); n > 0 && r.err == nil; n-- {
		v := change.Value{Kind: change.Kind(r.u8())}
		switch v.Kind {
		case change.Null, change.Unchanged:
		case change.Text, change.Binary:
			v.Data = r.take(r.u32())
		default:
			r.fail(errValueKind)
		}
		into = append(into, v)
	}
	return into
}

// end gives the first error, or one when bytes are left.
func (r *reader) end() error {
	if r.err == nil && len(r.rest) > 0 {
		r.err = errTrailing
	}
	return r.err
}
