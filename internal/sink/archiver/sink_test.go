package archiver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tidemark/internal/archive"
	"tidemark/internal/objstore"
	"tidemark/internal/objstore/objstoretest"
	"tidemark/internal/objstore/s3/s3test"
	"tidemark/internal/pgoutput"
	"tidemark/internal/position"
	"tidemark/internal/postgres/pgtest"
	"tidemark/internal/segment"
	"tidemark/internal/sink"
	"tidemark/internal/sink/sinktest"
)

func TestMain(m *testing.M) {
	code := pgtest.Main(m)
	// The HTTP client keeps connections for later requests.
	err := goleak.Find(goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
	if err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

var testStream = Stream{SystemID: "7000000000000000001", Timeline: 1, Database: "app", ServerVersion: 170000, Slot: "tidemark", Generation: 0x10}

func everything() (after, end position.LSN) { return 0x20, 1 << 40 }

func newBucket(t *testing.T) objstore.Bucket {
	t.Helper()
	return openBucket(t, "file://"+t.TempDir())
}

func openBucket(t *testing.T, url string) objstore.Bucket {
	t.Helper()
	b, err := archive.OpenBucket(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newSink(t *testing.T, bucket objstore.Bucket, cfg Config) *Sink {
	t.Helper()
	cfg.Bucket = bucket
	s, err := New(cfg, testStream, everything, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// target is an archive as the conformance suite sees it.
type target struct{ bucket objstore.Bucket }

func (a target) Sink(t *testing.T) sink.Sink {
	return newSink(t, a.bucket, Config{FlushInterval: 20 * time.Millisecond})
}

func (a target) Kill(*testing.T, sink.Sink) {} // memory is all that it holds

func (a target) Effects(t *testing.T) []position.Position {
	t.Helper()
	var out []position.Position
	for _, f := range readAll(t, a.bucket) {
		out = append(out, f...)
	}
	return out
}

// readAll verifies the archive and gives the positions of the rows of public tables, by transaction.
func readAll(t *testing.T, bucket objstore.Bucket) (out [][]position.Position) {
	t.Helper()
	store, err := archive.OpenStore(t.Context(), bucket)
	if errors.Is(err, archive.ErrEmpty) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	if report, err := store.Verify(t.Context(), nil); err != nil || len(report.Problems) > 0 {
		t.Fatalf("verify archive: %+v, %v", report.Problems, err)
	}
	objects, err := store.Objects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		body, err := store.Fetch(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		decoder := pgoutput.NewDecoder() // an object is read without the ones before
		for f, err := range body.Frames(store.Identity()) {
			if err != nil {
				t.Fatal(err)
			}
			if f.Kind == segment.Definition {
				if err := decoder.Define(f.Payload); err != nil {
					t.Fatal(err)
				}
				continue
			}
			var rows []position.Position
			for row, err := range decoder.Rows(&f) {
				if err != nil {
					t.Fatal(err)
				}
				if row.Relation.Schema == "public" {
					rows = append(rows, position.Position{End: f.End, Ordinal: row.Ordinal})
				}
			}
			out = append(out, rows)
		}
	}
	return out
}

func TestConformance(t *testing.T) {
	sinktest.Run(t, sinktest.Harness{New: func(t *testing.T) sinktest.Target { return target{newBucket(t)} }})
}

func TestConformanceS3(t *testing.T) {
	server := s3test.Start(t)
	sinktest.Run(t, sinktest.Harness{New: func(t *testing.T) sinktest.Target { return target{openBucket(t, server.Bucket(t))} }})
}

// history builds n transactions, each of rows rows.
func history(first position.LSN, n, rows int) []segment.Frame {
	frames := []segment.Frame{sinktest.Rows.Define()}
	for i := range n {
		frames = append(frames, sinktest.Transaction(first+position.LSN(i)*0x100, slices.Repeat(sinktest.Part{sinktest.Rows}, rows))...)
	}
	return frames
}

func open(t *testing.T, s *Sink) sink.Reached {
	t.Helper()
	r, err := s.Open(t.Context())
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return r
}

func apply(t *testing.T, s *Sink, frames []segment.Frame) sink.Reached {
	t.Helper()
	r, err := s.Apply(t.Context(), frames)
	if err != nil {
		t.Fatalf("apply: %v", err)
	}
	return r
}

func TestFlushBySize(t *testing.T) {
	bucket := newBucket(t)
	s := newSink(t, bucket, Config{FlushInterval: time.Hour, FlushSize: 4 << 10})
	open(t, s)
	if r := apply(t, s, history(0x1000, 40, 5)); r.Stored == 0 {
		t.Error("nothing is stored although FlushSize was reached several times")
	}
	n := len(objstoretest.Keys(t, bucket, archive.JournalPrefix, ""))
	if n < 2 {
		t.Errorf("%d objects were stored", n)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := len(readAll(t, bucket)); got != 40 {
		t.Errorf("after Close the archive holds %d of 40 transactions", got)
	}
}

func TestFlushByTimeOnlyWhenDirty(t *testing.T) {
	bucket := newBucket(t)
	s := newSink(t, bucket, Config{FlushInterval: 10 * time.Millisecond})
	open(t, s)
	for range 3 {
		apply(t, s, nil)
		time.Sleep(11 * time.Millisecond) // the interval itself is under test
	}
	if keys := objstoretest.Keys(t, bucket, archive.JournalPrefix, ""); len(keys) != 0 {
		t.Fatalf("an idle sink stored %v", keys)
	}
	frames := history(0x1000, 1, 3)
	parts := sinktest.Transaction(0x2000, sinktest.Part{sinktest.Rows}, sinktest.Part{sinktest.Rows})
	apply(t, s, append(frames, parts[0]))
	time.Sleep(11 * time.Millisecond)
	if r := apply(t, s, nil); r.Stored != 0 {
		t.Fatalf("stored %s while a transaction was open", r.Stored)
	}
	if r := apply(t, s, parts[1:]); r.Stored != 0x2000 {
		t.Errorf("stored %s, want 0/2000 at once: the interval had passed", r.Stored)
	}
}

// TestLostReplies: every create takes effect and fails. The Runner's way (close, open, go on) must lose and repeat nothing.
func TestLostReplies(t *testing.T) {
	for _, kind := range []string{"lost", "refused"} {
		t.Run(kind, func(t *testing.T) {
			bucket := objstoretest.NewFaulty(newBucket(t))
			s := newSink(t, bucket, Config{FlushInterval: time.Hour, FlushSize: 1 << 10})
			all := history(0x1000, 30, 3)
			var at position.LSN
			for round := 0; at < all[len(all)-1].End; round++ {
				if round > 200 {
					t.Fatal("no progress")
				}
				r := open(t, s)
				if r.Stored < at {
					t.Fatalf("went back from %s to %s", at, r.Stored)
				}
				at = r.Stored
				frames := []segment.Frame{all[0]}
				for _, f := range all[1:] {
					if f.End > at {
						frames = append(frames, f)
					}
				}
				if kind == "lost" {
					bucket.LoseReplies(round % 2)
				} else {
					bucket.Refuse(round % 2)
				}
				for _, f := range frames {
					r, err := s.Apply(t.Context(), []segment.Frame{f})
					if err != nil {
						if sink.IsPermanent(err) {
							t.Fatal(err)
						}
						break
					}
					at = max(at, r.Stored)
				}
				if err := s.Close(t.Context()); err != nil && !errors.Is(err, objstoretest.ErrInjected) {
					t.Fatal(err)
				}
			}
			if got := len(readAll(t, bucket)); got != 30 {
				t.Errorf("the archive holds %d of 30 transactions", got)
			}
		})
	}
}

// TestLateWrite: a create fails, and takes effect only after the sink has opened again.
func TestLateWrite(t *testing.T) {
	bucket := &late{Bucket: newBucket(t)}
	s := newSink(t, bucket, Config{FlushInterval: time.Hour, FlushSize: 1 << 10})
	open(t, s)
	bucket.hold = true
	if _, err := s.Apply(t.Context(), history(0x1000, 20, 3)); err == nil || sink.IsPermanent(err) {
		t.Fatalf("apply: %v, want a transient error", err)
	}
	if r := open(t, s); r.Stored != 0 {
		t.Fatalf("opened at %s", r.Stored)
	}
	bucket.arrive(t)
	if _, err := s.Apply(t.Context(), history(0x1000, 20, 3)); !errors.Is(err, errTaken) || sink.IsPermanent(err) {
		t.Fatalf("apply: %v, want a transient error that sends us back to Open", err)
	}
	r := open(t, s)
	if r.Stored == 0 {
		t.Fatal("the late write was not taken up")
	}
	var rest []segment.Frame
	for _, f := range history(0x1000, 20, 3) {
		if f.End == 0 || f.End > r.Stored {
			rest = append(rest, f)
		}
	}
	apply(t, s, rest)
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := len(readAll(t, bucket)); got != 20 {
		t.Errorf("the archive holds %d of 20 transactions", got)
	}
}

type late struct {
	objstore.Bucket
	hold bool
	key  string
	body []byte
}

func (l *late) Create(ctx context.Context, key string, body []byte) error {
	if l.hold && strings.HasPrefix(key, archive.JournalPrefix) {
		l.hold, l.key, l.body = false, key, slices.Clone(body)
		return errors.New("timed out")
	}
	return l.Bucket.Create(ctx, key, body)
}

func (l *late) arrive(t *testing.T) {
	t.Helper()
	if err := l.Bucket.Create(t.Context(), l.key, l.body); err != nil {
		t.Fatal(err)
	}
}

func TestSecondWriterIsFenced(t *testing.T) {
	bucket := newBucket(t)
	a := newSink(t, bucket, Config{FlushInterval: time.Hour, FlushSize: 1 << 10})
	b := newSink(t, bucket, Config{FlushInterval: time.Hour, FlushSize: 1 << 10})
	open(t, a)
	open(t, b)
	apply(t, a, history(0x1000, 20, 3))
	_, err := b.Apply(t.Context(), history(0x1000, 20, 3))
	if !sink.IsPermanent(err) || !errors.Is(err, archive.ErrForeign) || !strings.Contains(err.Error(), archive.JournalKey(1)) {
		t.Fatalf("second writer: %v, want a permanent error that names the object", err)
	}
	if err := b.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := a.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if got := len(readAll(t, bucket)); got != 20 {
		t.Errorf("the archive holds %d of 20 transactions", got)
	}
}

func TestOpenRefuses(t *testing.T) {
	bucket := newBucket(t)
	s := newSink(t, bucket, Config{FlushInterval: time.Hour})
	open(t, s)
	apply(t, s, history(0x1000, 3, 3))
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	generation, timeline, system, database := testStream, testStream, testStream, testStream
	generation.Generation = 0x999
	timeline.Timeline = 0
	system.SystemID = "7000000000000000002"
	database.Database = "other"
	behind := func() (after, end position.LSN) { return 0x20, 0x1100 }
	for _, test := range []struct {
		name   string
		stream Stream
		extent Extent
		bucket objstore.Bucket
		want   string
	}{
		{"another slot generation", generation, everything, bucket, "made at 0/999"},
		{"an older timeline", timeline, everything, bucket, "timeline"},
		{"another cluster", system, everything, bucket, "belongs to system id 7000000000000000001"},
		{"another database", database, everything, bucket, `database "app"`},
		{"a journal behind the archive", testStream, behind, bucket, "ends at 0/1200, and the journal only at 0/1100"},
		{"a store that overwrites", testStream, everything, overwriting{bucket}, "If-None-Match"},
		{"a damaged object", testStream, everything, bent(bucket, func(b []byte) []byte { b[len(b)/2] ^= 1; return b }), archive.JournalKey(1)},
		{"a cut object", testStream, everything, bent(bucket, func(b []byte) []byte { return b[:len(b)-3] }), archive.JournalKey(1)},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := New(Config{Bucket: test.bucket}, test.stream, test.extent, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			if _, err = s.Open(t.Context()); !sink.IsPermanent(err) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("open: %v, want a permanent error with %q", err, test.want)
			}
			if _, err := s.Apply(t.Context(), history(0x9000, 1, 1)); err == nil {
				t.Error("a sink that did not open applies")
			}
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func bent(b objstore.Bucket, change func([]byte) []byte) objstore.Bucket {
	f := objstoretest.NewFaulty(b)
	f.Bend(".tms.zst", change)
	return f
}

// overwriting is a store that ignores the condition.
type overwriting struct{ objstore.Bucket }

func (o overwriting) Create(ctx context.Context, key string, body []byte) error {
	if err := o.Bucket.Create(ctx, key, body); !errors.Is(err, objstore.ErrExists) {
		return err
	}
	return nil
}

func TestIndexesFollow(t *testing.T) {
	bucket := newBucket(t)
	s := newSink(t, bucket, Config{FlushInterval: time.Hour, FlushSize: 1 << 10})
	open(t, s)
	const n = 300
	for i, f := range history(0x1000, n, 8) {
		apply(t, s, []segment.Frame{f})
		if i == n/2 { // a successor goes on with the numbers
			if err := s.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			s = newSink(t, bucket, Config{FlushInterval: time.Hour, FlushSize: 1 << 10})
			open(t, s)
			s.defs.Learn(&history(0x1000, 0, 0)[0])
		}
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	objects := len(objstoretest.Keys(t, bucket, archive.JournalPrefix, ""))
	if keys := objstoretest.Keys(t, bucket, archive.IndexPrefix, ""); objects < 128 || len(keys) != objects/128 {
		t.Errorf("indexes: %v for %d objects", keys, objects)
	}
	if got := len(readAll(t, bucket)); got != n {
		t.Errorf("the archive holds %d of %d transactions", got, n)
	}
	// A hole far back does not stop archiving, and is not passed over in silence.
	if err := bucket.Delete(t.Context(), archive.JournalKey(2)); err != nil {
		t.Fatal(err)
	}
	var told strings.Builder
	s = newSink(t, bucket, Config{})
	s.log = slog.New(slog.NewTextHandler(&told, nil))
	if at := open(t, s); at.Stored == 0 || !strings.Contains(told.String(), archive.JournalKey(2)) {
		t.Errorf("open stands at %s and says %q, want the hole named", at.Stored, told.String())
	}
}

func TestValidate(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no url": {}, "interval": {URL: "file:///x", FlushInterval: time.Nanosecond}, "size": {URL: "file:///x", FlushSize: 1},
	} {
		if err := cfg.Validate(); err == nil {
			t.Errorf("%s: not refused", name)
		}
	}
	if err := (Config{URL: "file:///x"}).Validate(); err != nil {
		t.Error(err)
	}
}
