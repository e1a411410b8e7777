package segment

import (
	"bytes"
	"io"
	"reflect"
	"testing"
)

func FuzzHeader(f *testing.F) {
	b, _ := testHeader().encode()
	f.Add(b)
	f.Add(b[:20])
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ReadHeader("fuzz", bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		block, err := h.encode()
		if err != nil {
			t.Fatalf("a header that was read is not valid: %v", err)
		}
		again, err := ReadHeader("fuzz", bytes.NewReader(block), int64(len(block)))
		if err != nil || again != h {
			t.Fatalf("%+v becomes %+v, %v", h, again, err)
		}
	})
}

func FuzzFrame(f *testing.F) {
	frame := sample()[1].Frame
	b, _ := appendLead(nil, &frame, 7)
	f.Add(pad(append(b, frame.Payload...)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < frameHead {
			return
		}
		got, l, reason := decodeHead(b, 7)
		if reason != "" || l.size() > int64(len(b)) {
			return
		}
		if reason := decodeBody(&got, l, b[frameHead:l.size()], nil); reason != "" {
			return
		}
		again, err := appendLead(nil, &got, 7)
		if err != nil {
			t.Fatal(err)
		}
		if len(again) == frameHead+l.meta && !bytes.Equal(again[:6], b[:6]) {
			t.Fatalf("%x becomes %x", b[:6], again[:6])
		}
	})
}

func FuzzFooter(f *testing.F) {
	_, footer, _ := write(f, testHeader(), sample(), true)
	b, _ := footer.encode()
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := decodeFooter(b)
		if err != nil {
			return
		}
		b, err = got.encode()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := decodeFooter(b); err != nil || !reflect.DeepEqual(again, got) {
			t.Fatalf("%+v becomes %+v, %v", got, again, err)
		}
	})
}

// Both ways of reading any bytes agree, nothing panics, and what recovers can be gone on with.
func FuzzSegment(f *testing.F) {
	for _, n := range []int{0, 1, 6} {
		b, _, _ := write(f, testHeader(), sample()[:n], n != 1)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := NewReader("fuzz", bytes.NewReader(b), int64(len(b)))
		q, qerr := NewStreamReader("fuzz", bytes.NewReader(b))
		if (err == nil) != (qerr == nil) {
			t.Fatalf("file: %v; stream: %v", err, qerr)
		}
		if err != nil {
			return
		}
		s, err := Walk(r, nil)
		u, uerr := Walk(q, nil)
		if err != nil || uerr != nil {
			t.Fatalf("walk: %v, %v", err, uerr)
		}
		if s.Sealed != u.Sealed || s.Complete != u.Complete || s.Chain != u.Chain {
			t.Fatalf("file: %+v; stream: %+v", s, u)
		}
		_, _, _, _ = ReadFooter("fuzz", bytes.NewReader(b), int64(len(b)))
		s, err = Recover("fuzz", bytes.NewReader(b), int64(len(b)))
		if err != nil || s.Sealed {
			return
		}
		if w, err := s.Resume(io.Discard); err != nil || w.Open() || w.Size() != s.Complete {
			t.Fatalf("resume: %v", err)
		}
	})
}

func FuzzMessages(f *testing.F) {
	f.Add(AppendMessage(AppendMessage(nil, []byte("I1")), []byte("I2")))
	f.Fuzz(func(t *testing.T, b []byte) {
		var again []byte
		for m, err := range Messages(b) {
			if err != nil {
				return
			}
			again = AppendMessage(again, m)
		}
		for m, err := range Messages(again) {
			if err != nil || len(m) == 0 {
				t.Fatalf("%x becomes %x: %v", b, again, err)
			}
		}
	})
}
