package capture

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"tidemark/internal/position"
)

func frameMessage(kind byte, body string) []byte {
	return append(be([]byte{kind}, 4, uint64(4+len(body))), body...)
}

func TestWire(t *testing.T) {
	bodies := []string{"", "a", strings.Repeat("b", wireBuffer-5), strings.Repeat("c", wireBuffer-4), "d", strings.Repeat("e", 3*wireBuffer), strings.Repeat("f", wireBuffer/2+1), strings.Repeat("g", wireBuffer/2+1), ""}
	var stream []byte
	for _, b := range bodies {
		stream = append(stream, frameMessage('d', b)...)
	}
	for name, in := range map[string]io.Reader{
		"at once": bytes.NewReader(stream), "halves": iotest.HalfReader(bytes.NewReader(stream)), "data with error": iotest.DataErrReader(bytes.NewReader(stream)),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWire(in)
			for i, want := range bodies {
				kind, body, err := w.next()
				if err != nil || kind != 'd' || string(body) != want {
					t.Fatalf("message %d: kind %q, %d bytes, %v; want %d bytes", i, kind, len(body), err, len(want))
				}
			}
			if _, _, err := w.next(); !errors.Is(err, io.EOF) {
				t.Errorf("end gives %v", err)
			}
		})
	}
}

func TestWireRefusesImpossibleLength(t *testing.T) {
	for _, length := range []uint64{0, 3, maxMessage + 1, 0xffffffff} {
		if _, _, err := newWire(bytes.NewReader(be([]byte{'d'}, 4, length))).next(); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("length %d gives %v", length, err)
		}
	}
}

func TestWireDoesNotAllocate(t *testing.T) {
	w := newWire(&endless{message: frameMessage('d', strings.Repeat("x", 200))})
	if n := testing.AllocsPerRun(1000, func() {
		if _, _, err := w.next(); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations per message", n)
	}
}

// endless gives one message again and again.
type endless struct {
	message []byte
	at      int
}

func (e *endless) Read(b []byte) (int, error) {
	n := 0
	for n < len(b) {
		c := copy(b[n:], e.message[e.at:])
		e.at = (e.at + c) % len(e.message)
		n += c
	}
	return n, nil
}

func TestEncodeReport(t *testing.T) {
	var buf [39]byte
	b := encodeReport(&buf, report{flush: 0x0102, apply: 0x0304}, position.Time(5), true)
	want := be(be(be(be(append(be([]byte{'d'}, 4, 38), 'r'), 8, 0x0102), 8, 0x0102), 8, 0x0304), 8, 5)
	if !bytes.Equal(b, append(want, 1)) {
		t.Errorf("report is % x", b)
	}
}

func FuzzWire(f *testing.F) {
	f.Add(append(frameMessage('d', "abc"), frameMessage('k', "")...))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4 && data[1] > 1 {
			return // a length of many megabytes only tests the machine's memory
		}
		w := newWire(iotest.OneByteReader(bytes.NewReader(data)))
		var read int
		for {
			_, body, err := w.next()
			if err != nil {
				break
			}
			read += 5 + len(body)
		}
		if read > len(data) {
			t.Errorf("read %d of %d bytes", read, len(data))
		}
	})
}
