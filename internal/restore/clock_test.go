package restore

import (
	"errors"
	"strings"
	"testing"

	"tidemark/internal/archive"
	"tidemark/internal/objstore"
	"tidemark/internal/objstore/objstoretest"
	"tidemark/internal/position"
	"tidemark/internal/segment"
)

type commit struct {
	end     position.LSN
	seconds float64
}

// put writes an object that holds some transactions behind another object.
func put(t *testing.T, bucket objstore.Bucket, before archive.Object, commits ...commit) archive.Object {
	t.Helper()
	h := segment.Header{
		SystemID: "7000000000000000001", Database: "app", Timeline: 1, Slot: "tidemark", Generation: 0x10, Sequence: before.Sequence + 1,
		After: before.Last, Created: zero,
	}
	if before.Sequence > 0 {
		var err error
		if h.Previous, err = before.ChainDigest(); err != nil {
			t.Fatal(err)
		}
	}
	w, err := archive.NewWriter(h)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range commits {
		err := w.Append(segment.Append{
			Frame: segment.Frame{
				Kind: segment.Part, First: true, Last: true, Xid: 7, Count: 1, Commit: c.end - 8, End: c.end, Time: position.TimeOf(at(c.seconds)),
				Meta: []segment.Rows{{Relation: 1, Inserts: 1}}, Payload: segment.AppendMessage(nil, []byte("I change")),
			},
			Defines: []segment.Define{{Relation: 1, Payload: segment.AppendMessage(nil, []byte("R"))}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	o, body, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if err := bucket.Create(t.Context(), o.Key, body); err != nil {
		t.Fatal(err)
	}
	return o
}

func putBase(t *testing.T, bucket objstore.Bucket, lsn position.LSN, seconds float64) {
	t.Helper()
	b := archive.NewBase(bucket, lsn)
	body, err := archive.Compress(nil)
	if err != nil {
		t.Fatal(err)
	}
	m := archive.Manifest{SystemID: "7000000000000000001", Database: "app", Time: at(seconds)}
	for name, part := range map[string]*archive.Part{archive.SchemaPreName: &m.SchemaPre, archive.SchemaPostName: &m.SchemaPost} {
		if *part, err = b.PutPart(t.Context(), name, body, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Finish(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

func prepare(t *testing.T, bucket objstore.Bucket, target Target) (Plan, error) {
	t.Helper()
	store, err := archive.OpenStore(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	return Prepare(t.Context(), store, target)
}

func newBucket(t *testing.T) objstore.Bucket {
	t.Helper()
	bucket, err := archive.OpenBucket(t.Context(), "file://"+t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return bucket
}

// TestClockSetBackWithinObject has a base within an object, and before it in the same object a transaction that committed
// while the clock was ahead.
func TestClockSetBackWithinObject(t *testing.T) {
	bucket := newBucket(t)
	putBase(t, bucket, 0x250, 25)
	one := put(t, bucket, archive.Object{Last: 0x10}, commit{0x80, 6}, commit{0x100, 10})
	put(t, bucket, one, commit{0x200, 100}, commit{0x300, 30}, commit{0x400, 40})

	if _, err := prepare(t, bucket, target(35)); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "clock was set back") {
		t.Errorf("only the base that holds the later commit: %v", err)
	}
	for _, reached := range []Target{target(100), {LSN: 0x300}} {
		if plan, err := prepare(t, bucket, reached); err != nil || plan.Base.LSN != 0x250 {
			t.Errorf("restore to %s: base %s, %v", reached, plan.Base.LSN, err)
		}
	}
	putBase(t, bucket, 0x50, 5)
	faulty := objstoretest.NewFaulty(bucket)
	faulty.Bend(archive.ManifestKey(0x250), func(b []byte) []byte { return b[1:] })
	if plan, err := prepare(t, faulty, Target{LSN: 0x300}); err != nil || plan.Base.LSN != 0x50 || len(plan.Damaged) != 1 {
		t.Errorf("with a damaged manifest: base %s, damaged %v, %v; want the other base", plan.Base.LSN, plan.Damaged, err)
	}
	if plan, err := prepare(t, bucket, target(35)); err != nil || plan.Base.LSN != 0x50 {
		t.Errorf("with an older base: base %s, %v; want the older one", plan.Base.LSN, err)
	}
}
