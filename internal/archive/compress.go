package archive

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds what unpacking takes in memory besides the result, whatever an object's header asks for.
const maxWindow = 64 << 20

// compressor is safe for concurrent use through EncodeAll, and costly to make.
var compressor = sync.OnceValues(func() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(2), zstd.WithWindowSize(4<<20))
})

// Compress packs the bytes of one object with zstd, checksum included. Equal input gives equal output with one version of
// the library. It may be called from any goroutine.
func Compress(raw []byte) ([]byte, error) {
	enc, err := compressor()
	if err != nil {
		return nil, fmt.Errorf("make compressor: %w", err)
	}
	return enc.EncodeAll(raw, nil), nil
}

// Decompress unpacks one object whose unpacked size is known; any other size is ErrCorrupt, and no more than size bytes
// are taken in memory for a false one.
func Decompress(body []byte, size int64) ([]byte, error) {
	r, err := zstd.NewReader(bytes.NewReader(body), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, fmt.Errorf("unpack object: %w: %w", ErrCorrupt, err)
	}
	defer r.Close()
	var raw bytes.Buffer
	n, err := raw.ReadFrom(io.LimitReader(r, size+1))
	if err != nil {
		return nil, fmt.Errorf("unpack object: %w: %w", ErrCorrupt, err)
	}
	if n != size {
		return nil, fmt.Errorf("unpack object: it is not the %d bytes that were packed: %w", size, ErrCorrupt)
	}
	return raw.Bytes(), nil
}
