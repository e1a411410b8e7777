package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"runtime"
	"testing"
)

// Every flipped bit of a closed segment is found, and the place named is not behind it.
func TestEveryBit(t *testing.T) {
	b, _, _ := write(t, testHeader(), sample()[:6], true)
	for i := range b {
		bent := bytes.Clone(b)
		bent[i] ^= 1 << (i % 8)
		for _, stream := range []bool{false, true} {
			var err error
			var r *Reader
			if stream {
				r, err = NewStreamReader("test", bytes.NewReader(bent))
			} else {
				r, err = NewReader("test", bytes.NewReader(bent), int64(len(bent)))
			}
			if err == nil {
				_, err = Verify(r)
			}
			var c *CorruptionError
			if !errors.As(err, &c) || c.Position > int64(i) {
				t.Fatalf("bit in byte %d: %v", i, err)
			}
		}
		if _, err := Recover("test", bytes.NewReader(bent), int64(len(bent))); i < 200 && !isCorrupt(err) {
			t.Fatalf("bit in header byte %d: recover says %v", i, err)
		}
	}
}

// A segment cut anywhere is torn: it recovers to a complete transaction. Cut and zero-filled as well.
func TestTorn(t *testing.T) {
	b, _, _ := write(t, testHeader(), sample()[:6], true)
	r := open(t, b, false)
	ends := []int64{r.Place()}
	for {
		f, err := r.Skip()
		if err != nil {
			break
		}
		if f.Last {
			ends = append(ends, r.Place())
		}
	}
	head := int(ends[0])
	for n := head; n < len(b); n++ {
		want := int64(0)
		for _, e := range ends {
			if e <= int64(n) {
				want = e
			}
		}
		zeros := append(bytes.Clone(b[:n]), make([]byte, len(b)-n)...)
		for _, torn := range [][]byte{b[:n], zeros} {
			if bytes.Equal(torn, b) {
				continue // only padding was cut off
			}
			s, err := Recover("test", bytes.NewReader(torn), int64(len(torn)))
			if err != nil || s.Complete < want || s.Sealed {
				t.Fatalf("cut at %d: complete %d, sealed %v, %v; want %d", n, s.Complete, s.Sealed, err, want)
			}
		}
	}
	for n := range head {
		_, err := Recover("test", bytes.NewReader(b[:n]), int64(n))
		unborn, uerr := Unborn(bytes.NewReader(b[:n]), int64(n))
		if !isCorrupt(err) || uerr != nil || !unborn {
			t.Fatalf("header cut at %d: %v, unborn %v, %v", n, err, unborn, uerr)
		}
	}
}

// Damage below a place that a later frame knows to be fsynced is refused; damage above is torn.
func TestRotten(t *testing.T) {
	b, _, _ := write(t, testHeader(), sample()[:6], false)
	r := open(t, b, false)
	var last int64 // the last transaction's frames say that everything before them was fsynced
	for {
		place := r.Place()
		f, err := r.Skip()
		if err != nil {
			break
		}
		if f.Synced > uint64(last) {
			last = place
		}
	}
	for i := len(r.block); i < len(b); i++ {
		bent := bytes.Clone(b)
		bent[i] ^= 0x10
		s, err := Recover("test", bytes.NewReader(bent), int64(len(bent)))
		if int64(i) < last {
			if !isCorrupt(err) {
				t.Fatalf("byte %d of %d fsynced ones: %v", i, last, err)
			}
			continue
		}
		if err != nil || s.Complete > int64(i) || s.Complete < last {
			t.Fatalf("byte %d, not known to be fsynced: complete %d, %v", i, s.Complete, err)
		}
	}
}

func TestUnbornIsSmallAndEmpty(t *testing.T) {
	b, _, _ := write(t, testHeader(), sample()[:2], false)
	bent := bytes.Clone(b)
	bent[20] ^= 1
	if unborn, err := Unborn(bytes.NewReader(bent), int64(len(bent))); err != nil || unborn {
		t.Errorf("damaged header with frames: %v, %v", unborn, err)
	}
	long := make([]byte, headerLead+MaxHeader+1)
	if unborn, err := Unborn(bytes.NewReader(long), int64(len(long))); err != nil || unborn {
		t.Errorf("zeros longer than a header: %v, %v", unborn, err)
	}
}

func TestOtherFormat(t *testing.T) {
	_, err := decodeHeader("test", []byte{0x08, 0x02})
	if !errors.Is(err, ErrFormat) || isCorrupt(err) {
		t.Errorf("format 2: %v", err)
	}
}

// A length field of 4 GiB, with good checksums, takes no memory.
func TestLengthIsNotTrusted(t *testing.T) {
	block, err := testHeader().encode()
	if err != nil {
		t.Fatal(err)
	}
	f := transaction(0x1010, 1, 4, 1)[0].Frame
	seed := seedOf(testHeader().Nonce)
	lead, err := appendLead(nil, &f, seed)
	if err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint32(lead[8:], 0xFFFFFFF0)
	binary.LittleEndian.PutUint32(lead[64:], crc32.Update(seed, castagnoli, lead[:64]))
	b := append(block, lead...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, stream := range []bool{false, true} {
		if _, err := open(t, b, stream).Next(); !isCorrupt(err) {
			t.Errorf("stream %v: %v", stream, err)
		}
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
		t.Errorf("%d bytes of memory were taken", n)
	}
}
