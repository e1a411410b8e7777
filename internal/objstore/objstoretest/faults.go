package objstoretest

import (
	"context"
	"errors"
	"io"
	"iter"
	"strings"
	"sync"

	"tidemark/internal/objstore"
)

// ErrInjected is what a fault returns: transient to its caller.
var ErrInjected = errors.New("injected fault")

// Faulty passes calls on to a bucket and fails some of them. Set its fields before use; methods may be called from
// any goroutine.
type Faulty struct {
	objstore.Bucket
	mu sync.Mutex
	// lose and refuse count down the creates that fail after, or before, they took effect.
	lose, refuse int
	// bent replaces what a key holds.
	bent map[string]func([]byte) []byte
}

// NewFaulty wraps a bucket, without faults yet.
func NewFaulty(b objstore.Bucket) *Faulty {
	return &Faulty{Bucket: b, bent: map[string]func([]byte) []byte{}}
}

// LoseReplies makes the next n creates take effect and fail.
func (f *Faulty) LoseReplies(n int) { f.mu.Lock(); f.lose = n; f.mu.Unlock() }

// Refuse makes the next n creates fail without effect.
func (f *Faulty) Refuse(n int) { f.mu.Lock(); f.refuse = n; f.mu.Unlock() }

// Bend makes Get deliver change(body) for keys that end in suffix; nil makes them missing, also from listings.
func (f *Faulty) Bend(suffix string, change func([]byte) []byte) {
	f.mu.Lock()
	f.bent[suffix] = change
	f.mu.Unlock()
}

// Create implements objstore.Bucket.
func (f *Faulty) Create(ctx context.Context, key string, body []byte) error {
	f.mu.Lock()
	refuse := f.refuse > 0
	lose := !refuse && f.lose > 0
	if refuse {
		f.refuse--
	}
	if lose {
		f.lose--
	}
	f.mu.Unlock()
	if refuse {
		return ErrInjected
	}
	err := f.Bucket.Create(ctx, key, body)
	if lose && err == nil {
		return ErrInjected
	}
	return err
}

// Get implements objstore.Bucket.
func (f *Faulty) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	change, bent := f.fault(key)
	if !bent {
		return f.Bucket.Get(ctx, key)
	}
	if change == nil {
		return nil, objstore.ErrNotFound
	}
	r, err := f.Bucket.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	return io.NopCloser(strings.NewReader(string(change(body)))), nil
}

// List implements objstore.Bucket.
func (f *Faulty) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Object, error] {
	return func(yield func(objstore.Object, error) bool) {
		for o, err := range f.Bucket.List(ctx, prefix, after) {
			if change, bent := f.fault(o.Key); err == nil && bent && change == nil {
				continue
			}
			if !yield(o, err) {
				return
			}
		}
	}
}

func (f *Faulty) fault(key string) (func([]byte) []byte, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for suffix, change := range f.bent {
		if strings.HasSuffix(key, suffix) {
			return change, true
		}
	}
	return nil, false
}
