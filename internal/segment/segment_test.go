package segment

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"reflect"
	"testing"

	"tidemark/internal/position"
)

func open(tb testing.TB, b []byte, stream bool) *Reader {
	tb.Helper()
	var r *Reader
	var err error
	if stream {
		r, err = NewStreamReader("test", bytes.NewReader(b))
	} else {
		r, err = NewReader("test", bytes.NewReader(b), int64(len(b)))
	}
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func TestRoundTrip(t *testing.T) {
	want := sample()
	b, footer, chain := write(t, testHeader(), want, true)
	for _, stream := range []bool{false, true} {
		r := open(t, b, stream)
		if r.Header() != testHeader() {
			t.Errorf("header is %+v", r.Header())
		}
		var defs Definitions
		for i := 0; ; {
			f, err := r.Next()
			if err == io.EOF {
				if i != len(want) {
					t.Errorf("read %d parts of %d", i, len(want))
				}
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if f.Kind == Definition {
				defs.Learn(&f)
				continue
			}
			compare(t, f, want[i].Frame)
			got, err := defs.Defines(nil, f.Meta)
			if err != nil || len(f.Meta) > 0 && !reflect.DeepEqual(got, want[i].Defines) {
				t.Errorf("part %d needs %v, %v; want %v", i, got, err, want[i].Defines)
			}
			i++
		}
		got, ok := r.Footer()
		if !ok || !reflect.DeepEqual(got, footer) {
			t.Errorf("footer is %+v, %v; want %+v", got, ok, footer)
		}
		if _, err := r.Next(); err != io.EOF {
			t.Errorf("behind the seal: %v", err)
		}
		s, err := Verify(open(t, b, stream))
		if err != nil || s.Chain != chain || s.Size != int64(len(b)) {
			t.Errorf("verify: %+v, %v", s, err)
		}
	}
	if chain != Digest(sha256.Sum256(b)) {
		t.Error("chain digest is not the digest of the file")
	}
}

func compare(t *testing.T, got, want Frame) {
	t.Helper()
	if !want.Last {
		want.End = 0
	}
	got.Synced = 0
	if len(got.Payload) == 0 && len(want.Payload) == 0 {
		got.Payload, want.Payload = nil, nil
	}
	if len(got.Meta) == 0 && len(want.Meta) == 0 {
		got.Meta, want.Meta = nil, nil
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("frame is %+v, want %+v", got, want)
	}
}

func TestFooterCounts(t *testing.T) {
	b, f, _ := write(t, testHeader(), sample(), true)
	if f.Last != 0x2000 || f.Transactions != 6 || f.Rows != 1+3+9+0+2+4 || f.MinTime != 0x1010*1000 || f.MaxTime != 0x2000*1000 {
		t.Errorf("footer is %+v", f)
	}
	want := []RelationRows{{Relation: 10, Inserts: 1 + 3 + 2 + 2 + 3}, {Relation: 11, Inserts: 3 + 1}, {Relation: 12, Inserts: 4}}
	if !reflect.DeepEqual(f.Relations, want) {
		t.Errorf("relations are %+v, want %+v", f.Relations, want)
	}
	if len(f.Definitions) != 5 {
		t.Errorf("%d definitions, want 5: one of each relation, one that changed, and changed back", len(f.Definitions))
	}
	h, got, place, err := ReadFooter("test", bytes.NewReader(b), int64(len(b)))
	if err != nil || h != testHeader() || !reflect.DeepEqual(got, f) {
		t.Fatalf("footer from the end is %+v, %v; want %+v", got, err, f)
	}
	if s, err := Verify(open(t, b, false)); err != nil || s.Complete != place {
		t.Errorf("seal is at %d, transactions end at %d, %v", place, s.Complete, err)
	}
	if _, _, _, err := ReadFooter("test", bytes.NewReader(b[:place]), place); !isCorrupt(err) {
		t.Errorf("footer of an open segment: %v", err)
	}
}

func isCorrupt(err error) bool {
	var c *CorruptionError
	return errors.As(err, &c)
}

func TestWriterRefuses(t *testing.T) {
	good := func() Append { return transaction(0x1010, 1, 4, 2)[0] }
	for name, bend := range map[string]func(a *Append){
		"definition":         func(a *Append) { a.Frame.Kind = Definition },
		"not first":          func(a *Append) { a.Frame.First = false },
		"number":             func(a *Append) { a.Frame.Number = 1 },
		"ordinal":            func(a *Append) { a.Frame.Ordinal = 1 },
		"count":              func(a *Append) { a.Frame.Count = 3 },
		"not after":          func(a *Append) { a.Frame.End, a.Frame.Commit = 0x1000, 0xFF0 },
		"end not behind":     func(a *Append) { a.Frame.End = a.Frame.Commit },
		"undefined relation": func(a *Append) { a.Defines = nil },
		"empty definition":   func(a *Append) { a.Defines[0].Payload = nil },
		"large meta":         func(a *Append) { a.Frame.Meta = make([]Rows, MaxMeta/5+1); a.Frame.Count = 0 },
	} {
		var buf bytes.Buffer
		w, err := NewWriter(&buf, testHeader())
		if err != nil {
			t.Fatal(err)
		}
		before := buf.Len()
		a := good()
		bend(&a)
		if name == "large meta" {
			a.Defines = append(a.Defines, define(0, "1"))
		}
		if err := w.Append(a); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
		if buf.Len() != before || w.Size() != int64(before) {
			t.Errorf("%s: something was written", name)
		}
		if err := w.Append(good()); err != nil {
			t.Errorf("%s: afterwards: %v", name, err)
		}
	}
}

func TestOpenTransaction(t *testing.T) {
	parts := transaction(0x1010, 1, 4, 2, 3, 1)
	for name, bend := range map[string]func(a *Append){
		"another transaction": func(a *Append) { *a = transaction(0x1020, 2, 4, 1)[0] },
		"xid":                 func(a *Append) { a.Frame.Xid++ },
		"commit":              func(a *Append) { a.Frame.Commit++ },
		"time":                func(a *Append) { a.Frame.Time++ },
		"repeated":            func(a *Append) { *a = parts[0]; a.Frame.First = false },
		"skipped":             func(a *Append) { *a = parts[2] },
	} {
		w, _ := NewWriter(io.Discard, testHeader())
		if err := w.Append(parts[0]); err != nil || !w.Open() {
			t.Fatal(err)
		}
		a := parts[1]
		bend(&a)
		if err := w.Append(a); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, err := w.Seal(); !errors.Is(err, ErrInvalid) {
			t.Errorf("seal: %v", err)
		}
	}
}

// failing takes n bytes and then fails, once.
type failing struct {
	bytes.Buffer
	left int
}

var errFull = errors.New("disk is full")

func (f *failing) Write(p []byte) (int, error) {
	if f.left >= 0 && len(p) > f.left {
		n, _ := f.Buffer.Write(p[:f.left])
		f.left = -1
		return n, errFull
	}
	if f.left >= 0 {
		f.left -= len(p)
	}
	return f.Buffer.Write(p)
}

// A write that failed, wherever, leaves the Writer as it was: cut to Size, repeated, the file is what it would be.
func TestWriteFails(t *testing.T) {
	want, _, _ := write(t, testHeader(), sample(), true)
	head := len(open(t, want, false).block)
	for n := 0; n < len(want)-head; n += 211 {
		out := &failing{left: -1}
		w, err := NewWriter(out, testHeader())
		if err != nil {
			t.Fatal(err)
		}
		out.left = n
		retry := func(try func() error) {
			err := try()
			if err != nil && !errors.Is(err, errFull) {
				t.Fatal(err)
			}
			if err != nil {
				out.Truncate(int(w.Size()))
				if err := try(); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, a := range sample() {
			if a.Frame.First {
				w.SetSynced(w.Size())
			}
			retry(func() error { return w.Append(a) })
		}
		retry(func() error { _, _, err := w.Seal(); return err })
		if !bytes.Equal(out.Bytes(), want) {
			t.Fatalf("failure after %d bytes: the file differs", n)
		}
	}
}

// Rollback and Resume both end at the last complete transaction, and going on gives the file that the open transaction never touched.
func TestRollback(t *testing.T) {
	all := sample()
	want, _, _ := write(t, testHeader(), all, true)
	for i := range all {
		for _, reopen := range []bool{false, true} {
			var buf bytes.Buffer
			w, err := NewWriter(&buf, testHeader())
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range all[:i] {
				if a.Frame.First {
					w.SetSynced(w.Size())
				}
				if err := w.Append(a); err != nil {
					t.Fatal(err)
				}
			}
			from := i
			for from > 0 && !all[from].Frame.First {
				from--
			}
			open := transaction(0x9000, 77, 40, 1, 1)
			open[0].Defines[0] = define(10, "lost")
			if from == i {
				if err := w.Append(open[0]); err != nil {
					t.Fatal(err)
				}
			}
			if reopen {
				s, err := Recover("test", bytes.NewReader(buf.Bytes()), int64(buf.Len()))
				if err != nil || s.Stop != nil {
					t.Fatalf("recover: %v, stop %v", err, s.Stop)
				}
				if s.Complete != w.Complete() {
					t.Fatalf("complete at %d, want %d", s.Complete, w.Complete())
				}
				if w, err = s.Resume(&buf); err != nil {
					t.Fatal(err)
				}
			} else if err := w.Rollback(); err != nil {
				t.Fatal(err)
			}
			if w.Open() {
				t.Fatal("still open")
			}
			buf.Truncate(int(w.Size()))
			for _, a := range all[from:] {
				if a.Frame.First {
					w.SetSynced(w.Size())
				}
				if err := w.Append(a); err != nil {
					t.Fatal(err)
				}
			}
			if _, _, err := w.Seal(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(buf.Bytes(), want) {
				t.Fatalf("part %d, reopen %v: the file differs", i, reopen)
			}
		}
	}
}

func TestSkipAndPlaces(t *testing.T) {
	b, footer, _ := write(t, testHeader(), sample(), true)
	r := open(t, b, false)
	ends := map[position.LSN]uint32{}
	for {
		f, err := r.Skip()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		last := f
		if f.Kind == Part && !f.Last {
			if last, err = r.LastPart(); err != nil {
				t.Fatal(err)
			}
		}
		if f.Kind == Part {
			ends[last.End] = last.Ordinal + last.Count
		}
	}
	if len(ends) != 6 || ends[0x1030] != 9 || ends[0x2000] != 4 {
		t.Errorf("ends are %v", ends)
	}
	for _, place := range footer.Definitions {
		if f, err := r.FrameAt(place); err != nil || f.Kind != Definition {
			t.Errorf("at %d: %v, %v", place, f.Kind, err)
		}
	}
}

func TestIndex(t *testing.T) {
	var all []Append
	for i := range 400 {
		all = append(all, transaction(position.LSN(0x1010+i*16), uint32(i), 8<<10, 1)...)
	}
	b, f, _ := write(t, testHeader(), all, true)
	if n := len(b) / indexSpacing; len(f.Index) < n-1 || len(f.Index) > n+1 {
		t.Errorf("%d index entries for %d bytes", len(f.Index), len(b))
	}
	for _, e := range f.Index {
		r := open(t, b, false)
		r.GoTo(e.Place, e.After)
		got, err := r.Next()
		if err == nil && got.Kind == Definition {
			got, err = r.Next()
		}
		if err != nil || got.End != max(e.After, 0x1000)+16 {
			t.Errorf("behind %s at %d: %s, %v", e.After, e.Place, got.End, err)
		}
	}
}

func TestIndexThins(t *testing.T) {
	l := &ledger{spacing: 8}
	for i := range 3*indexMax + 5 {
		l.index(IndexEntry{Place: int64(8 + i*8), After: position.LSN(i)})
	}
	index := l.totals.Index
	if len(index) > indexMax || len(index) < indexMax/2 || index[0].Place != 8 {
		t.Fatalf("%d entries from %d", len(index), index[0].Place)
	}
	for i := 1; i < len(index); i++ {
		if index[i].Place-index[i-1].Place != l.spacing {
			t.Fatalf("entry %d at %d, the one before at %d, spacing %d", i, index[i].Place, index[i-1].Place, l.spacing)
		}
	}
}
