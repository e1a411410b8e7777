package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tidemark/internal/objstore"
	"tidemark/internal/objstore/objstoretest"
	"tidemark/internal/objstore/s3/s3test"
	"tidemark/internal/position"
	"tidemark/internal/postgres/throwaway"
	"tidemark/internal/segment"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var who = Identity{Format: Format, SystemID: "7000000000000000001", Database: "app"}

func newBucket(t testing.TB) objstore.Bucket {
	t.Helper()
	b, err := OpenBucket(t.Context(), "file://"+t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// transaction is a transaction of one part of four changes that a reader of archives does not look into.
func transaction(end position.LSN, at time.Time, rows uint32) segment.Append {
	var payload []byte
	for i := range rows {
		payload = segment.AppendMessage(payload, fmt.Appendf(nil, "I change %d of %s", i, end))
	}
	return segment.Append{
		Frame: segment.Frame{
			Kind: segment.Part, First: true, Last: true, Xid: 7, Count: rows, Commit: end - 8, End: end, Time: position.TimeOf(at),
			Meta: []segment.Rows{{Relation: 1, Inserts: rows}}, Payload: payload,
		},
		Defines: []segment.Define{{Relation: 1, Payload: segment.AppendMessage(nil, []byte("R"))}},
	}
}

var begin = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fill writes n objects of two transactions each, and the indexes that are due.
func fill(t testing.TB, bucket objstore.Bucket, n int) []Object {
	t.Helper()
	if err := Claim(t.Context(), bucket, who.SystemID, who.Database); err != nil {
		t.Fatal(err)
	}
	tail := Tail{NextIndex: 1}
	before := Object{Last: 0x100}
	var all []Object
	for i := range n {
		o, body := pack(t, before, i)
		if err := bucket.Create(t.Context(), o.Key, body); err != nil {
			t.Fatal(err)
		}
		before, all = o, append(all, o)
		tail.Unindexed = append(tail.Unindexed, o)
		var err error
		if tail, err = PutIndexes(t.Context(), bucket, tail); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func pack(t testing.TB, before Object, i int) (Object, []byte) {
	t.Helper()
	h := segment.Header{
		SystemID: who.SystemID, Database: who.Database, Timeline: 1, Slot: "tidemark", Generation: 0x10, Sequence: before.Sequence + 1,
		After: before.Last, Nonce: uint64(i), Created: begin,
	}
	if before.Sequence > 0 {
		var err error
		if h.Previous, err = before.ChainDigest(); err != nil {
			t.Fatal(err)
		}
	}
	w, err := NewWriter(h)
	if err != nil {
		t.Fatal(err)
	}
	for k := range 2 {
		end := before.Last + position.LSN(k+1)*0x80
		if err := w.Append(transaction(end, begin.Add(time.Duration(2*i+k)*time.Second), 4)); err != nil {
			t.Fatal(err)
		}
	}
	o, body, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return o, body
}

func openStore(t testing.TB, bucket objstore.Bucket) *Store {
	t.Helper()
	s, err := OpenStore(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestObjectsFromIndexAndTail(t *testing.T) {
	bucket := newBucket(t)
	want := fill(t, bucket, indexCount+3)
	if keys := objstoretest.Keys(t, bucket, IndexPrefix, ""); !slices.Equal(keys, []string{IndexKey(1)}) {
		t.Fatalf("indexes: %v", keys)
	}
	gets := &counting{Bucket: bucket}
	got, err := openStore(t, gets).Objects(t.Context())
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("objects differ, %v", err)
	}
	if n := gets.n.Load(); n != 1+1+3 {
		t.Errorf("listing %d objects took %d requests for objects, want one for identity, index and each of the 3 that no index lists", len(want), n)
	}
	tail, err := openStore(t, bucket).Tail(t.Context())
	if err != nil || *tail.Last != want[len(want)-1] || len(tail.Unindexed) != 3 || tail.NextIndex != 2 {
		t.Errorf("tail %+v, %v", tail, err)
	}
}

type counting struct {
	objstore.Bucket
	n atomic.Int64
}

func (c *counting) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	c.n.Add(1)
	return c.Bucket.Get(ctx, key)
}

func TestFrames(t *testing.T) {
	bucket := newBucket(t)
	store := openStoreOf(t, bucket, 3)
	objects, err := store.Objects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	end := position.LSN(0x100)
	for _, o := range objects {
		body, err := store.Fetch(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		parts := 0
		for f, err := range body.Frames(store.Identity()) {
			if err != nil {
				t.Fatal(err)
			}
			if f.Kind != segment.Part {
				continue
			}
			parts++
			if end += 0x80; f.End != end || f.Total != 4 {
				t.Errorf("part %+v, want end %s", f, end)
			}
		}
		if parts != 2 {
			t.Errorf("%s has %d parts", o.Key, parts)
		}
	}
}

func openStoreOf(t *testing.T, bucket objstore.Bucket, n int) *Store {
	t.Helper()
	fill(t, bucket, n)
	return openStore(t, bucket)
}

// TestDamage bends one object in every way that matters. Reading, planning and verifying must name it.
func TestDamage(t *testing.T) {
	flip := func(b []byte) []byte { b[len(b)/2] ^= 0x40; return b }
	cut := func(b []byte) []byte { return b[:len(b)-1] }
	longer := func(b []byte) []byte { return append(b, 0) }
	empty := func([]byte) []byte { return nil }
	whole := newBucket(t)
	fill(t, whole, indexCount+3)
	for name, change := range map[string]func([]byte) []byte{"flipped bit": flip, "cut": cut, "longer": longer, "empty": empty, "missing": nil} {
		for _, place := range []struct {
			name   string
			number uint64
		}{{"indexed", 5}, {"in the tail", indexCount + 2}} {
			t.Run(name+" "+place.name, func(t *testing.T) {
				bucket := objstoretest.NewFaulty(whole)
				key := JournalKey(place.number)
				bucket.Bend(key, change)
				expectDamage(t, openStore(t, bucket), key, place.number)
			})
		}
	}
}

func expectDamage(t *testing.T, store *Store, key string, number uint64) {
	t.Helper()
	report, err := store.Verify(t.Context(), nil)
	if err != nil || len(report.Problems) == 0 || report.Problems[0].Key != key {
		t.Errorf("verify: %+v, %v: want a problem with %s", report.Problems, err, key)
	}
	objects, err := store.Objects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if number <= indexCount {
		if _, err := store.Fetch(t.Context(), objects[number-1]); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("fetch: %v, want an error that names %s", err, key)
		}
		return
	}
	i := slices.IndexFunc(objects, func(o Object) bool { return o.Sequence >= number })
	if reason := objects[i].Follows(objects[i-1]); !strings.Contains(reason, key) {
		t.Errorf("chain: %q, want %s named", reason, key)
	}
	if _, err := store.Tail(t.Context()); !errors.Is(err, ErrHole) || !strings.Contains(err.Error(), key) {
		t.Errorf("tail: %v, want ErrHole that names %s", err, key)
	}
}

func TestSwappedObjects(t *testing.T) {
	bucket := newBucket(t)
	fill(t, bucket, 4)
	two, three := objstoretest.Read(t, bucket, JournalKey(2)), objstoretest.Read(t, bucket, JournalKey(3))
	swapped := objstoretest.NewFaulty(bucket)
	swapped.Bend(JournalKey(2), func([]byte) []byte { return bytes.Clone(three) })
	swapped.Bend(JournalKey(3), func([]byte) []byte { return bytes.Clone(two) })
	report, err := openStore(t, swapped).Verify(t.Context(), nil)
	if err != nil || len(report.Problems) < 2 || report.Problems[0].Key != JournalKey(2) || report.Problems[1].Key != JournalKey(3) {
		t.Errorf("verify: %+v, %v", report.Problems, err)
	}
}

// TestReplacedObject has an object that is whole and fits its place, but is not the one that was archived.
func TestReplacedObject(t *testing.T) {
	bucket := newBucket(t)
	objects := fill(t, bucket, indexCount+2)
	for _, n := range []int{7, indexCount + 1} {
		_, other := pack(t, objects[n-2], 9999)
		replaced := objstoretest.NewFaulty(bucket)
		replaced.Bend(JournalKey(uint64(n)), func([]byte) []byte { return bytes.Clone(other) })
		report, err := openStore(t, replaced).Verify(t.Context(), nil)
		if err != nil || len(report.Problems) == 0 {
			t.Errorf("object %d: verify finds %+v, %v", n, report.Problems, err)
		}
	}
}

func TestCheck(t *testing.T) {
	bucket := newBucket(t)
	objects := fill(t, bucket, 5)
	store := openStore(t, bucket)
	if err := store.Check(t.Context(), objects[1:4]); err != nil {
		t.Error(err)
	}
	if err := bucket.Delete(t.Context(), JournalKey(3)); err != nil {
		t.Fatal(err)
	}
	if err := store.Check(t.Context(), objects[1:4]); !errors.Is(err, ErrHole) || !strings.Contains(err.Error(), JournalKey(3)) {
		t.Errorf("check: %v", err)
	}
}

// TestLostIndex: an index that is gone or damaged costs requests, never data.
func TestLostIndex(t *testing.T) {
	whole := newBucket(t)
	want := fill(t, whole, 2*indexCount+1)
	for name, change := range map[string]func([]byte) []byte{"missing": nil, "damaged": func(b []byte) []byte { return b[:len(b)/2] }} {
		t.Run(name, func(t *testing.T) {
			bucket := objstoretest.NewFaulty(whole)
			bucket.Bend(IndexKey(1), change)
			got, err := openStore(t, bucket).Objects(t.Context())
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%d of %d objects, %v", len(got), len(want), err)
			}
			report, err := openStore(t, bucket).Verify(t.Context(), nil)
			if err != nil || (len(report.Problems) > 0) != (change != nil) {
				t.Errorf("verify: %+v, %v", report.Problems, err)
			}
		})
	}
}

// TestHolesSeenByListing: objects that an index lists are not read, but it is seen that one is gone or has another size.
func TestHolesSeenByListing(t *testing.T) {
	bucket := newBucket(t)
	all := fill(t, bucket, indexCount+2)
	short := objstoretest.Read(t, bucket, JournalKey(9))
	for _, n := range []uint64{1, 9, indexCount} {
		if err := bucket.Delete(t.Context(), JournalKey(n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := bucket.Create(t.Context(), JournalKey(9), short[1:]); err != nil {
		t.Fatal(err)
	}
	store := openStore(t, bucket)
	objects, err := store.Objects(t.Context())
	if err != nil || len(objects) != len(all) {
		t.Fatalf("%d objects, %v", len(objects), err)
	}
	var damaged []uint64
	for _, o := range objects {
		if o.Damage != "" {
			damaged = append(damaged, o.Sequence)
		}
	}
	tail, err := store.Tail(t.Context())
	if want := []uint64{1, 9, indexCount}; !slices.Equal(damaged, want) || err != nil || len(tail.Damaged) != len(want) || *tail.Last != all[len(all)-1] {
		t.Errorf("damaged objects %v, want %v; tail %+v, %v", damaged, want, tail, err)
	}
}

// TestNoObjectLeft: the indexes still say what there was.
func TestNoObjectLeft(t *testing.T) {
	bucket := objstoretest.NewFaulty(newBucket(t))
	fill(t, bucket, indexCount)
	bucket.Bend(".tms.zst", nil)
	report, err := openStore(t, bucket).Verify(t.Context(), nil)
	if err != nil || len(report.Problems) != 1 || report.Problems[0].Key != JournalKey(1) {
		t.Errorf("verify: %+v, %v: want a problem with %s", report.Problems, err, JournalKey(1))
	}
}

func TestClaim(t *testing.T) {
	bucket := newBucket(t)
	if _, err := OpenStore(t.Context(), bucket); !errors.Is(err, ErrEmpty) {
		t.Errorf("open an empty bucket: %v", err)
	}
	for range 2 {
		if err := Claim(t.Context(), bucket, "1", "app"); err != nil {
			t.Fatal(err)
		}
	}
	if err := Claim(t.Context(), bucket, "2", "app"); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "system id 1") {
		t.Errorf("claim for another system: %v", err)
	}
	if err := Claim(t.Context(), bucket, "1", "other"); !errors.Is(err, ErrForeign) {
		t.Errorf("claim for another database: %v", err)
	}
}

func TestOpenBucket(t *testing.T) {
	for url, want := range map[string]string{"gs://b/p": `kind "gs"`, "/path": "want s3://", "http://\x7f": "cannot be read", "file://": "path is missing"} {
		if b, err := OpenBucket(t.Context(), url); err == nil || b != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", url, b, err)
		}
	}
}

func TestCacheDirsAgree(t *testing.T) {
	if s3test.CacheDir() != throwaway.CacheDir() {
		t.Errorf("s3test looks in %s, make setup fills %s", s3test.CacheDir(), throwaway.CacheDir())
	}
}
