package segment

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"tidemark/internal/position"
)

func testHeader() Header {
	return Header{
		SystemID: "7312345678901234567", Timeline: 1, Database: "app", ServerVersion: 170010, Slot: "tidemark",
		Generation: 0x1000, Sequence: 1, After: 0x1000, Nonce: 0xFEEDFACECAFEBEEF, Created: time.UnixMicro(1700000000123456).UTC(),
	}
}

func define(relation uint32, version string) Define {
	payload := AppendMessage(nil, fmt.Appendf(nil, "R relation %d version %s", relation, version))
	return Define{Relation: relation, Fingerprint: Fingerprint(payload), Payload: payload}
}

// transaction gives the parts of a transaction: counts holds the rows of each part, relation 10+i in part i.
func transaction(end position.LSN, xid uint32, size int, counts ...int) []Append {
	var out []Append
	var ordinal uint32
	for i, n := range counts {
		f := Frame{
			Kind: Part, First: i == 0, Last: i == len(counts)-1, Xid: xid, Number: uint32(i), Ordinal: ordinal, Count: uint32(n),
			Commit: end - 4, End: end, Time: position.Time(end) * 1000,
		}
		a := Append{}
		if n > 0 {
			relation := uint32(10 + i)
			f.Meta = []Rows{{Relation: relation, Inserts: uint32(n)}}
			a.Defines = []Define{define(relation, "1")}
		}
		for row := range n {
			f.Payload = AppendMessage(f.Payload, bytes.Repeat([]byte{byte('a' + row%26)}, size))
		}
		ordinal += uint32(n)
		a.Frame = f
		out = append(out, a)
	}
	return out
}

// sample gives transactions of many shapes.
func sample() []Append {
	var all []Append
	for i, t := range [][]Append{
		transaction(0x1010, 1, 20, 1), transaction(0x1020, 2, 30, 3), transaction(0x1030, 3, 8, 2, 3, 4),
		transaction(0x1040, 4, 0, 0), transaction(0x1050, 5, 100, 2), transaction(0x2000, 6, separate/2, 3, 1),
	} {
		if i == 4 {
			t[0].Defines = []Define{define(10, "2")}
		}
		all = append(all, t...)
	}
	return all
}

func write(tb testing.TB, h Header, appends []Append, seal bool) ([]byte, Footer, Digest) {
	tb.Helper()
	var buf bytes.Buffer
	w, err := NewWriter(&buf, h)
	if err != nil {
		tb.Fatal(err)
	}
	for _, a := range appends {
		if a.Frame.First {
			w.SetSynced(w.Size())
		}
		if err := w.Append(a); err != nil {
			tb.Fatal(err)
		}
		if w.Size() != int64(buf.Len()) {
			tb.Fatalf("writer counts %d bytes, wrote %d", w.Size(), buf.Len())
		}
	}
	if !seal {
		return buf.Bytes(), Footer{}, Digest{}
	}
	f, d, err := w.Seal()
	if err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes(), f, d
}
