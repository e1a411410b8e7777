package objstoretest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"tidemark/internal/objstore"
)

// Run holds a back end to the promises of objstore.Bucket. newBucket returns an empty bucket.
func Run(t *testing.T, newBucket func(t *testing.T) objstore.Bucket) {
	for name, test := range map[string]func(*testing.T, objstore.Bucket){
		"create and get": testRoundTrip, "create once": testCreateOnce, "one of many creates": testRace,
		"missing": testMissing, "list": testList, "delete": testDelete, "odd keys": testOddKeys,
		"refused keys": testRefusedKeys, "cancelled": testCancelled, "self-test": testSelfTest,
	} {
		t.Run(name, func(t *testing.T) { test(t, newBucket(t)) })
	}
}

// Read returns an object's bytes.
func Read(t testing.TB, b objstore.Bucket, key string) []byte {
	t.Helper()
	r, err := b.Get(t.Context(), key)
	if err != nil {
		t.Fatalf("get %s: %v", key, err)
	}
	body, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatalf("read %s: %v", key, err)
	}
	return body
}

// Keys lists keys.
func Keys(t testing.TB, b objstore.Bucket, prefix, after string) []string {
	t.Helper()
	var keys []string
	for o, err := range b.List(t.Context(), prefix, after) {
		if err != nil {
			t.Fatalf("list %q: %v", prefix, err)
		}
		keys = append(keys, o.Key)
	}
	return keys
}

func create(t *testing.T, b objstore.Bucket, key string, body []byte) {
	t.Helper()
	if err := b.Create(t.Context(), key, body); err != nil {
		t.Fatalf("create %s: %v", key, err)
	}
}

func testRoundTrip(t *testing.T, b objstore.Bucket) {
	for key, body := range map[string][]byte{
		"empty": {}, "a/b/c": []byte("x"), "large": bytes.Repeat([]byte("0123456789abcdef"), 200_000),
	} {
		create(t, b, key, body)
		if got := Read(t, b, key); !bytes.Equal(got, body) {
			t.Errorf("%s: read %d bytes that differ from the %d written", key, len(got), len(body))
		}
	}
}

func testCreateOnce(t *testing.T, b objstore.Bucket) {
	create(t, b, "d/k", []byte("first"))
	if err := b.Create(t.Context(), "d/k", []byte("second")); !errors.Is(err, objstore.ErrExists) {
		t.Fatalf("second create: %v, want ErrExists", err)
	}
	if got := Read(t, b, "d/k"); string(got) != "first" {
		t.Errorf("object holds %q after a refused create", got)
	}
}

// testRace has several writers create one key at the same time: exactly one succeeds, and its bytes are there.
func testRace(t *testing.T, b objstore.Bucket) {
	const writers = 8
	errs := make([]error, writers)
	body := func(i int) []byte { return bytes.Repeat([]byte{byte('a' + i)}, 50_000) }
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() { errs[i] = b.Create(t.Context(), "race/k", body(i)) })
	}
	wg.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner < 0:
			winner = i
		case err == nil:
			t.Errorf("writers %d and %d both created the object", winner, i)
		case !errors.Is(err, objstore.ErrExists):
			t.Errorf("writer %d: %v, want ErrExists", i, err)
		}
	}
	if winner < 0 {
		t.Fatal("no writer created the object")
	}
	if !bytes.Equal(Read(t, b, "race/k"), body(winner)) {
		t.Error("object does not hold the bytes of the writer that succeeded")
	}
}

func testMissing(t *testing.T, b objstore.Bucket) {
	create(t, b, "dir/k", nil)
	for _, key := range []string{"k", "dir", "dir/other", "dir/k2"} {
		if _, err := b.Get(t.Context(), key); !errors.Is(err, objstore.ErrNotFound) {
			t.Errorf("get %s: %v, want ErrNotFound", key, err)
		}
	}
}

func testList(t *testing.T, b objstore.Bucket) {
	if keys := Keys(t, b, "", ""); len(keys) != 0 {
		t.Fatalf("an empty bucket lists %v", keys)
	}
	all := []string{"a-b", "a/1", "a/2/x", "a/2/y", "a0", "b/1", "bc/1", "c"}
	for i, key := range all {
		create(t, b, key, make([]byte, i))
	}
	for _, test := range []struct {
		prefix, after string
		want          []string
	}{
		{"", "", all}, {"a", "", all[:5]}, {"a/", "", all[1:4]}, {"a/2/", "", all[2:4]}, {"b", "", all[5:7]}, {"a/2/x", "", all[2:3]},
		{"", "a/2/x", all[3:]}, {"a/", "a/1", all[2:4]}, {"a/", "a/11", all[2:4]}, {"a/", "b", nil}, {"nothing/", "", nil}, {"c/", "", nil},
	} {
		if got := Keys(t, b, test.prefix, test.after); !slices.Equal(got, test.want) {
			t.Errorf("list %q after %q: %v, want %v", test.prefix, test.after, got, test.want)
		}
	}
	for o, err := range b.List(t.Context(), "b", "") {
		if err != nil || o.Key != "b/1" || o.Size != 5 || o.Modified.IsZero() {
			t.Errorf("first entry is %+v, %v", o, err)
		}
		break
	}
}

func testDelete(t *testing.T, b objstore.Bucket) {
	create(t, b, "d/k", []byte("first"))
	for range 2 {
		if err := b.Delete(t.Context(), "d/k"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Get(t.Context(), "d/k"); !errors.Is(err, objstore.ErrNotFound) {
		t.Errorf("get after delete: %v", err)
	}
	if keys := Keys(t, b, "", ""); len(keys) != 0 {
		t.Errorf("list after delete: %v", keys)
	}
	create(t, b, "d/k", []byte("again"))
}

func testOddKeys(t *testing.T, b objstore.Bucket) {
	keys := []string{"%41%2F", "a b", "a+b&c=d?e#f", "data/public.%22order%22/000001.copy.zst", "~", "é/ü", strings.Repeat("n", 200) + "/" + strings.Repeat("m", 200)}
	for _, key := range keys {
		create(t, b, key, []byte(key))
	}
	for _, key := range keys {
		if got := Read(t, b, key); string(got) != key {
			t.Errorf("object %q holds %q", key, got)
		}
	}
	slices.Sort(keys)
	if got := Keys(t, b, "", ""); !slices.Equal(got, keys) {
		t.Errorf("list: %q, want %q", got, keys)
	}
}

func testRefusedKeys(t *testing.T, b objstore.Bucket) {
	for _, key := range []string{"", "/a", "a/", "a//b", "../a", "a/../b", "./a", "a/.", "a\x00b", "a\nb", `a\b`, "\xff", objstore.TempPrefix + "x", strings.Repeat("x", 256)} {
		if err := b.Create(t.Context(), key, nil); err == nil {
			t.Errorf("create %q is not refused", key)
		}
		if r, err := b.Get(t.Context(), key); err == nil {
			_ = r.Close()
			t.Errorf("get %q is not refused", key)
		}
		if err := b.Delete(t.Context(), key); err == nil {
			t.Errorf("delete %q is not refused", key)
		}
	}
}

func testCancelled(t *testing.T, b objstore.Bucket) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Create(ctx, "k", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("create: %v, want context.Canceled", err)
	}
	if _, err := b.Get(ctx, "k"); !errors.Is(err, context.Canceled) {
		t.Errorf("get: %v, want context.Canceled", err)
	}
}

func testSelfTest(t *testing.T, b objstore.Bucket) {
	if err := objstore.SelfTest(t.Context(), b); err != nil {
		t.Error(err)
	}
	if keys := Keys(t, b, "", ""); len(keys) != 0 {
		t.Errorf("self-test leaves %v", keys)
	}
	if err := objstore.SelfTest(t.Context(), overwriting{b}); !errors.Is(err, objstore.ErrUnfenced) {
		t.Errorf("self-test of a store that overwrites: %v, want ErrUnfenced", err)
	}
}

// overwriting is a store that ignores the condition.
type overwriting struct{ objstore.Bucket }

func (o overwriting) Create(ctx context.Context, key string, body []byte) error {
	err := o.Bucket.Create(ctx, key, body)
	if errors.Is(err, objstore.ErrExists) {
		return nil
	}
	return err
}
