package sink

import (
	"context"
	"errors"
	"time"

	"tidemark/internal/segment"
)

// batch collects frames for one Apply. A Log's frame is valid only until its next Next, so a frame is copied into the
// batch's own memory before the log is asked for another; the last one is used in place.
type batch struct {
	frames []segment.Frame
	bytes  []byte
	meta   []segment.Rows
	failed error // what the log said behind the frames of the last fill
}

func (b *batch) reset(keep int) {
	clear(b.frames)
	b.frames = b.frames[:0]
	b.meta = b.meta[:0]
	if cap(b.bytes) > keep { // one huge row must not hold its memory for ever
		b.bytes = nil
	}
	b.bytes = b.bytes[:0]
}

// own copies the last frame's slices. When an append outgrows the memory, frames copied before keep the old one.
func (b *batch) own() {
	f := &b.frames[len(b.frames)-1]
	start := len(b.bytes)
	b.bytes = append(b.bytes, f.Payload...)
	f.Payload = b.bytes[start:len(b.bytes):len(b.bytes)]
	m := len(b.meta)
	b.meta = append(b.meta, f.Meta...)
	f.Meta = b.meta[m:len(b.meta):len(b.meta)]
}

// fill waits for one frame, no longer than wait, and adds all that are ready behind it, up to the bounds. An error of
// the log behind some frames is kept for the next fill, so that what is readable reaches the sink.
func (b *batch) fill(ctx context.Context, wait time.Duration, log Log, maxFrames, maxBytes int) error {
	b.reset(2 * maxBytes)
	if b.failed != nil {
		return b.failed
	}
	if wait <= 0 {
		return nil
	}
	f, err := first(ctx, wait, log)
	if err != nil || f == nil {
		return err
	}
	b.frames = append(b.frames, *f)
	for size := len(f.Payload); len(b.frames) < maxFrames && size < maxBytes && log.Ready(); {
		b.own()
		next, err := log.Next(ctx)
		if err != nil {
			b.failed = err
			return nil
		}
		b.frames = append(b.frames, next)
		size += len(next.Payload)
	}
	return nil
}

// first returns nil when no frame came in time.
func first(ctx context.Context, wait time.Duration, log Log) (*segment.Frame, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	f, err := log.Next(ctx)
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil, nil
	}
	return &f, err
}
