package archive

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/klauspost/compress/zstd"

	"tidemark/internal/position"
	"tidemark/internal/segment"
)

// MaxObject is the largest journal object, in bytes as stored: what S3 takes in one request is 5 GiB, and a writer
// holds the object in memory.
const MaxObject = 2 << 30

// ErrTooLarge says that a transaction does not fit into one object.
var ErrTooLarge = errors.New("transaction is too large for an archive object")

// Writer builds one journal object in memory, compressed as it grows. One goroutine uses it.
type Writer struct {
	body   bytes.Buffer
	packer *zstd.Encoder
	writer *segment.Writer
}

// NewWriter begins an object. h.Sequence, After and Previous continue the object before.
func NewWriter(h segment.Header) (*Writer, error) {
	w := &Writer{}
	var err error
	// One goroutine, ours, does all the work: nothing is left behind when an object is given up.
	if w.packer, err = zstd.NewWriter(&w.body, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20)); err != nil {
		return nil, fmt.Errorf("make compressor: %w", err)
	}
	if w.writer, err = segment.NewWriter(w.packer, h); err != nil {
		return nil, fmt.Errorf("begin object %d: %w", h.Sequence, err)
	}
	return w, nil
}

// Append adds a part of a transaction with the definitions that it needs.
func (w *Writer) Append(a segment.Append) error {
	if err := w.writer.Append(a); err != nil {
		return fmt.Errorf("append to object %d: %w", w.writer.Header().Sequence, err)
	}
	if w.body.Len() > MaxObject {
		return fmt.Errorf("append to object %d: above %d bytes: %w", w.writer.Header().Sequence, MaxObject, ErrTooLarge)
	}
	return nil
}

// Size is the object's size so far, in bytes before compression.
func (w *Writer) Size() int64 { return w.writer.Size() }

// Open reports whether the last transaction is not complete yet.
func (w *Writer) Open() bool { return w.writer.Open() }

// Last is the end LSN and commit time of the last complete transaction.
func (w *Writer) Last() (position.LSN, position.Time) { return w.writer.Last() }

// Begun is when the object was begun.
func (w *Writer) Begun() time.Time { return w.writer.Header().Created }

// Finish closes the segment and returns the object's bytes with what an index says of them. There must be no open
// transaction; the Writer is of no more use.
func (w *Writer) Finish() (Object, []byte, error) {
	footer, chain, err := w.writer.Seal()
	if err != nil {
		return Object{}, nil, err
	}
	if err := w.packer.Close(); err != nil {
		return Object{}, nil, fmt.Errorf("compress object %d: %w", w.writer.Header().Sequence, err)
	}
	o := describe(w.writer.Header(), footer, chain, w.writer.Size(), w.body.Bytes())
	return o, w.body.Bytes(), nil
}
