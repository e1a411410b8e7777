package archive

import (
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// maxRaw bounds what one object may unpack to: twice the largest transaction that a segment is meant to hold, so that
// a forged object cannot exhaust memory.
const maxRaw = 4 << 30

// Encoder and decoder are safe for concurrent use through EncodeAll and DecodeAll, and costly to make.
var (
	encoder = sync.OnceValues(func() (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(2), zstd.WithEncoderLevel(zstd.SpeedDefault))
	})
	decoder = sync.OnceValues(func() (*zstd.Decoder, error) {
		return zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(maxRaw))
	})
)

// Compress packs the bytes of one object with zstd, checksum included. Equal input gives equal output with one version of
// the library.
func Compress(raw []byte) ([]byte, error) {
	enc, err := encoder()
	if err != nil {
		return nil, fmt.Errorf("make compressor: %w", err)
	}
	return enc.EncodeAll(raw, nil), nil
}

// Decompress unpacks one object whose unpacked size is known; any other size is an error.
func Decompress(body []byte, size int64) ([]byte, error) {
	raw, err := unpack(body, size)
	if err != nil {
		return nil, err
	}
	if int64(len(raw)) != size {
		return nil, fmt.Errorf("unpack object: %d bytes, want %d: %w", len(raw), size, ErrCorrupt)
	}
	return raw, nil
}

func unpack(body []byte, hint int64) ([]byte, error) {
	dec, err := decoder()
	if err != nil {
		return nil, fmt.Errorf("make decompressor: %w", err)
	}
	raw, err := dec.DecodeAll(body, make([]byte, 0, min(max(hint, 0), 64<<20)))
	if err != nil {
		return nil, fmt.Errorf("unpack object: %w: %w", ErrCorrupt, err)
	}
	return raw, nil
}
