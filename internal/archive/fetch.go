package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"tidemark/internal/objstore"
)

// maxMeta bounds identity, index and manifest objects.
const maxMeta = 256 << 20

// fetch reads a whole object that has exactly size bytes.
func fetch(ctx context.Context, bucket objstore.Bucket, key string, size int64) ([]byte, error) {
	body, err := fetchUpTo(ctx, bucket, key, size)
	if err != nil {
		return nil, err
	}
	if int64(len(body)) != size {
		return nil, fmt.Errorf("read %s: %d bytes, want %d: %w", key, len(body), size, ErrCorrupt)
	}
	return body, nil
}

// fetchUpTo reads a whole object of at most limit bytes.
func fetchUpTo(ctx context.Context, bucket objstore.Bucket, key string, limit int64) ([]byte, error) {
	r, err := bucket.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("read %s: more than %d bytes: %w", key, limit, ErrCorrupt)
	}
	return body, nil
}

// checkKey refuses a key that could leave its prefix: keys also come from manifests, which others may have written.
func checkKey(key string) error {
	if key == "" || strings.HasPrefix(key, "/") || strings.ContainsAny(key, "\x00\\") {
		return fmt.Errorf("key %q is not allowed: %w", key, ErrCorrupt)
	}
	for token := range strings.SplitSeq(key, "/") {
		if token == "" || token == "." || token == ".." {
			return fmt.Errorf("key %q is not allowed: %w", key, ErrCorrupt)
		}
	}
	return nil
}
