package archive

import (
	"context"
	"fmt"
	"net/url"

	"tidemark/internal/objstore"
	"tidemark/internal/objstore/file"
	"tidemark/internal/objstore/s3"
)

// OpenBucket opens the place that a URL names: s3://bucket/prefix?region=…&endpoint=…&path_style=…, or file:///path, or
// file://./path relative to the working directory. It does not talk to a store: objstore.SelfTest does. An error that is objstore.ErrURL
// is the fault of who wrote the URL.
func OpenBucket(ctx context.Context, text string) (objstore.Bucket, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("open archive: %w: it cannot be read: want s3://bucket/prefix or file:///path", objstore.ErrURL)
	}
	var bucket objstore.Bucket
	switch u.Scheme {
	case "s3":
		bucket, err = s3.Open(ctx, u)
	case "file":
		bucket, err = file.Open(ctx, u)
	default:
		err = fmt.Errorf("open archive: %w: there is no store of kind %q: want s3://bucket/prefix or file:///path", objstore.ErrURL, u.Scheme)
	}
	if err != nil {
		return nil, err
	}
	return bucket, nil
}
