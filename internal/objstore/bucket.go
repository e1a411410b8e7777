package objstore

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"
)

// The answers that callers decide on; back ends wrap them.
var (
	// ErrExists: the key was there before, perhaps by an own write whose reply was lost. Compare the content.
	ErrExists = errors.New("object exists already")
	// ErrNotFound: no object of that key.
	ErrNotFound = errors.New("object not found")
	// ErrDenied: the store refuses (rights, wrong credentials, no such bucket); trying again does not help.
	ErrDenied = errors.New("object store refuses")
	// ErrURL: the URL names no store; whoever wrote it has to change it.
	ErrURL = errors.New("the URL is wrong")
)

// Object is an entry of a listing.
type Object struct {
	Key  string
	Size int64
	// Modified is the store's clock: for display only, never for order.
	Modified time.Time
}

// Bucket is a place for objects, under one prefix. All methods may be called from any goroutine. Errors that are none
// of the above are transient: the caller tries again.
type Bucket interface {
	// Create stores body under key if, and only if, there is no such object. When it returns nil the object is
	// durable and whole; after any other error than ErrExists and ErrDenied it may or may not be there.
	Create(ctx context.Context, key string, body []byte) error
	// Get opens an object. The reader fails with io.ErrUnexpectedEOF when the store delivers fewer bytes than the object has.
	Get(ctx context.Context, key string) (io.ReadCloser, error)
	// List walks the objects whose keys begin with prefix and come after the key after, in key order.
	List(ctx context.Context, prefix, after string) iter.Seq2[Object, error]
	// Delete removes an object; one that is not there is no error.
	Delete(ctx context.Context, key string) error
}
