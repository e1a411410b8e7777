package objstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
)

// ProbePrefix holds the objects that SelfTest makes and removes.
const ProbePrefix = ".probe/"

// ErrUnfenced says that the store creates an object over another one: a second writer would not be noticed.
var ErrUnfenced = errors.New("object store ignores If-None-Match and would overwrite objects: use a store with conditional writes")

// SelfTest checks at start that the store does what Bucket promises: it creates an object, fails to create it again,
// reads it back, finds it in a listing and removes it. A store that does not let us remove it (Object Lock, a writer without
// that right) passes; the probe then stays.
func SelfTest(ctx context.Context, b Bucket) error {
	key := ProbePrefix + rand.Text()
	first, second := []byte("first"), []byte("second")
	if err := b.Create(ctx, key, first); err != nil {
		return fmt.Errorf("test object store: create %s: %w", key, err)
	}
	err := probe(ctx, b, key, first, second)
	if del := b.Delete(ctx, key); del != nil && !errors.Is(del, ErrDenied) && err == nil {
		err = fmt.Errorf("remove %s: %w", key, del)
	}
	if err != nil {
		return fmt.Errorf("test object store: %w", err)
	}
	return nil
}

func probe(ctx context.Context, b Bucket, key string, first, second []byte) error {
	if err := b.Create(ctx, key, second); err == nil {
		return ErrUnfenced
	} else if !errors.Is(err, ErrExists) {
		return fmt.Errorf("create %s again: %w", key, err)
	}
	r, err := b.Get(ctx, key)
	if err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	body, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	if bytes.Equal(body, second) {
		return ErrUnfenced
	}
	if !bytes.Equal(body, first) {
		return fmt.Errorf("read %s: the store returns other bytes than were written", key)
	}
	for o, err := range b.List(ctx, ProbePrefix, "") {
		if err != nil {
			return fmt.Errorf("list %s: %w", ProbePrefix, err)
		}
		if o.Key == key && o.Size == int64(len(first)) {
			return nil
		}
	}
	return fmt.Errorf("list %s: the store does not list what was written", ProbePrefix)
}
