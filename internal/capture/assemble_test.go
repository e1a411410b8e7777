package capture

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"tidemark/internal/pgoutput"
	"tidemark/internal/position"
	"tidemark/internal/segment"
)

func be(b []byte, size int, v uint64) []byte {
	switch size {
	case 1:
		return append(b, byte(v))
	case 2:
		return binary.BigEndian.AppendUint16(b, uint16(v))
	case 4:
		return binary.BigEndian.AppendUint32(b, uint32(v))
	}
	return binary.BigEndian.AppendUint64(b, v)
}

func beginMsg(commit uint64) []byte {
	return be(be(be([]byte{'B'}, 8, commit), 8, 1000), 4, 7)
}

func commitMsg(commit, end uint64) []byte {
	return be(be(be([]byte{'C', 0}, 8, commit), 8, end), 8, 1000)
}

// relationMsg describes table t with one int column of the given type.
func relationMsg(id uint32, columns ...uint32) []byte {
	b := append(be([]byte{'R'}, 4, uint64(id)), "public\x00t\x00d"...)
	b = be(b, 2, uint64(len(columns)))
	for _, oid := range columns {
		b = append(b, 1, 'c', 0)
		b = be(be(b, 4, uint64(oid)), 4, 0xffffffff)
	}
	return b
}

func typeMsg(oid uint32, name string) []byte {
	return append(append(be([]byte{'Y'}, 4, uint64(oid)), "public\x00"...), name+"\x00"...)
}

func insertMsg(id uint32, value string) []byte {
	b := be(be([]byte{'I'}, 4, uint64(id)), 1, 'N')
	b = be(be(be(b, 2, 1), 1, 't'), 4, uint64(len(value)))
	return append(b, value...)
}

func truncateMsg(ids ...uint32) []byte {
	b := be(be([]byte{'T'}, 4, uint64(len(ids))), 1, 0)
	for _, id := range ids {
		b = be(b, 4, uint64(id))
	}
	return b
}

// collect copies what is handed over.
func collect(parts *[]segment.Append) func(segment.Append) error {
	return func(a segment.Append) error {
		*parts = append(*parts, clonePart(a))
		return nil
	}
}

func nobody(position.LSN, position.Time) {}

func feed(t *testing.T, a *assembler, messages ...[]byte) outcome {
	t.Helper()
	var out outcome
	for _, m := range messages {
		var err error
		if out, err = a.message(m); err != nil {
			t.Fatalf("message %q: %v", m[0], err)
		}
	}
	return out
}

func TestAssembleOneTransaction(t *testing.T) {
	var parts []segment.Append
	a := newAssembler(50, 1<<20, collect(&parts), nobody)
	out := feed(t, a, beginMsg(100), typeMsg(9000, "mood"), relationMsg(1, 9000, 23, 9000), append([]byte{'O'}, "\x00\x00\x00\x00\x00\x00\x00\x01origin\x00"...),
		insertMsg(1, "x"), relationMsg(2, 23), truncateMsg(1, 2), commitMsg(100, 130))
	if !out.done || out.empty || out.end != 130 || len(parts) != 1 {
		t.Fatalf("outcome %+v, %d parts", out, len(parts))
	}
	f := parts[0].Frame
	if !f.First || !f.Last || f.Xid != 7 || f.Count != 3 || f.Commit != 100 || f.End != 130 || f.Time != 1000 || f.Ordinal != 0 {
		t.Errorf("frame is %+v", f)
	}
	if len(f.Meta) != 2 || f.Meta[0] != (segment.Rows{Relation: 1, Inserts: 1, Truncates: 1}) || f.Meta[1] != (segment.Rows{Relation: 2, Truncates: 1}) {
		t.Errorf("meta is %+v", f.Meta)
	}
	kinds := ""
	for m, err := range segment.Messages(f.Payload) {
		if err != nil {
			t.Fatal(err)
		}
		kinds += string(m[0])
	}
	if kinds != "OIT" {
		t.Errorf("payload holds %s", kinds)
	}
	want := segment.AppendMessage(segment.AppendMessage(nil, typeMsg(9000, "mood")), relationMsg(1, 9000, 23, 9000))
	if d := parts[0].Defines[0]; string(d.Payload) != string(want) || d.Fingerprint != pgoutput.Fingerprint(want) {
		t.Errorf("definition is %q", d.Payload)
	}
	if a.rows != (counters{inserts: 1, truncates: 2}) {
		t.Errorf("counters are %+v", a.rows)
	}
}

func TestAssembleSplits(t *testing.T) {
	row := insertMsg(1, strings.Repeat("v", 100))
	for _, c := range []struct {
		name     string
		messages [][]byte
		counts   []uint32 // changes per part
	}{
		{"by size", [][]byte{row, row, row, row, row}, []uint32{2, 2, 1}},
		{"a huge row", [][]byte{row, insertMsg(1, strings.Repeat("v", 1000)), row}, []uint32{1, 1, 1}},
		{"redefinition of a used relation", [][]byte{insertMsg(1, "a"), relationMsg(1, 23, 25), insertMsg(1, "b")}, []uint32{1, 1}},
		{"redefinition back and forth", [][]byte{insertMsg(1, "a"), relationMsg(1, 23, 25), relationMsg(1, 23), insertMsg(1, "b")}, []uint32{2}},
		{"the same definition again", [][]byte{insertMsg(1, "a"), relationMsg(1, 23), insertMsg(1, "b")}, []uint32{2}},
		{"redefinition of another relation", [][]byte{insertMsg(1, "a"), relationMsg(2, 23, 25), insertMsg(1, "b")}, []uint32{2}},
		{"redefinition at the end", [][]byte{insertMsg(1, "a"), relationMsg(1, 23, 25)}, []uint32{1}},
		{"truncate after redefinition", [][]byte{insertMsg(1, "a"), insertMsg(2, "a"), relationMsg(2, 25), truncateMsg(1, 2)}, []uint32{2, 2}},
		{"a type changes", [][]byte{relationMsg(3, 9000), insertMsg(3, "a"), typeMsg(9000, "x"), relationMsg(3, 9000), insertMsg(3, "a")}, []uint32{1, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var parts []segment.Append
			a := newAssembler(0, 250, collect(&parts), nobody)
			feed(t, a, relationMsg(1, 23), relationMsg(2, 23), beginMsg(100))
			feed(t, a, c.messages...)
			feed(t, a, commitMsg(100, 130))
			var ordinal uint32
			for i, p := range parts {
				if i >= len(c.counts) || p.Frame.Count != c.counts[i] {
					t.Fatalf("part %d has %d changes, want %v", i, p.Frame.Count, c.counts)
				}
				checkPart(t, p, uint32(i), ordinal, i == len(parts)-1)
				ordinal += p.Frame.Count
			}
			if len(parts) != len(c.counts) {
				t.Errorf("%d parts, want %d", len(parts), len(c.counts))
			}
		})
	}
}

func checkPart(t *testing.T, p segment.Append, number, ordinal uint32, last bool) {
	t.Helper()
	f := p.Frame
	if f.Number != number || f.Ordinal != ordinal || f.First != (number == 0) || f.Last != last || (f.End != 0) != last {
		t.Errorf("part %d: frame is %+v", number, f)
	}
	var total uint32
	for i, m := range f.Meta {
		total += m.Total()
		if p.Defines[i].Relation != m.Relation {
			t.Errorf("part %d: definition %d is of relation %d, not %d", number, i, p.Defines[i].Relation, m.Relation)
		}
	}
	if total != f.Count || len(p.Defines) != len(f.Meta) {
		t.Errorf("part %d: meta counts %d of %d changes", number, total, f.Count)
	}
}

func TestAssembleManyRelations(t *testing.T) {
	var parts []segment.Append
	a := newAssembler(0, 1<<20, collect(&parts), nobody)
	ids := make([]uint32, 0, 2500)
	for id := uint32(1); id <= 2500; id++ {
		feed(t, a, relationMsg(id, 23))
		ids = append(ids, id)
	}
	feed(t, a, beginMsg(100))
	for _, id := range ids {
		feed(t, a, insertMsg(id, "x"))
	}
	feed(t, a, truncateMsg(ids...), commitMsg(100, 130))
	var counts []uint32
	for _, p := range parts {
		counts = append(counts, p.Frame.Count)
	}
	if len(parts) != 4 || counts[0] != 1000 || counts[1] != 1000 || counts[2] != 500 || counts[3] != 2500 {
		t.Errorf("parts have %v changes", counts)
	}
}

func TestAssembleEmptyTransactions(t *testing.T) {
	var parts []segment.Append
	a := newAssembler(0, 1<<20, collect(&parts), nobody)
	out := feed(t, a, beginMsg(100), append([]byte{'O'}, "\x00\x00\x00\x00\x00\x00\x00\x01origin\x00"...), commitMsg(100, 130))
	if !out.empty || out.end != 130 || len(parts) != 0 {
		t.Errorf("outcome %+v, %d parts", out, len(parts))
	}
	// The next commit record may begin exactly there.
	feed(t, a, relationMsg(1, 23), beginMsg(130), insertMsg(1, "x"), commitMsg(130, 150))
	if len(parts) != 1 || len(parts[0].Frame.Payload) != len(insertMsg(1, "x"))+1 {
		t.Errorf("the origin of the empty transaction leaked into the next: %+v", parts)
	}
}

func TestAssembleRefuses(t *testing.T) {
	for _, c := range []struct {
		name     string
		messages [][]byte
		want     string
	}{
		{"empty message", [][]byte{{}}, "empty"},
		{"unknown kind", [][]byte{{'?'}}, "unknown kind"},
		{"logical message", [][]byte{{'M'}}, "unknown kind"},
		{"begin prepare", [][]byte{{'b'}}, "prepared"},
		{"commit prepared", [][]byte{{'K', 0}}, "prepared"},
		{"begin twice", [][]byte{beginMsg(100), beginMsg(100)}, "begin within"},
		{"commit of another", [][]byte{beginMsg(100), commitMsg(101, 130)}, "does not belong"},
		{"commit alone", [][]byte{commitMsg(100, 130)}, "does not belong"},
		{"end before commit", [][]byte{beginMsg(100), commitMsg(100, 100)}, "does not belong"},
		{"row outside", [][]byte{relationMsg(1, 23), insertMsg(1, "a")}, "outside"},
		{"truncate outside", [][]byte{relationMsg(1, 23), truncateMsg(1)}, "outside"},
		{"origin outside", [][]byte{append([]byte{'O'}, "\x00\x00\x00\x00\x00\x00\x00\x01o\x00"...)}, "outside"},
		{"undefined relation", [][]byte{beginMsg(100), insertMsg(1, "a")}, "not defined"},
		{"undefined truncated", [][]byte{beginMsg(100), truncateMsg(1)}, "not defined"},
		{"received already", [][]byte{beginMsg(49)}, "received already"},
		{"short begin", [][]byte{{'B', 0}}, "malformed"},
		{"short relation", [][]byte{{'R', 0}}, "malformed"},
		{"short type", [][]byte{{'Y', 0}}, "malformed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAssembler(50, 1<<20, func(segment.Append) error { return nil }, nobody)
			var err error
			for _, m := range c.messages {
				_, err = a.message(m)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %q", err, c.want)
			}
		})
	}
}

func TestAssembleToleratesAbortOfUnseen(t *testing.T) {
	a := newAssembler(0, 1<<20, func(segment.Append) error { return nil }, nobody)
	feed(t, a, be(be([]byte{'A'}, 4, 1), 4, 2))
}

func TestAssemblePassesAppendErrors(t *testing.T) {
	broken := errors.New("broken")
	a := newAssembler(0, 1<<20, func(segment.Append) error { return broken }, nobody)
	feed(t, a, relationMsg(1, 23), beginMsg(100), insertMsg(1, "a"))
	_, err := a.message(commitMsg(100, 130))
	var handed handError
	if !errors.Is(err, broken) || !errors.As(err, &handed) || !a.open || !a.handed {
		t.Errorf("error is %v, open %v, handed %v", err, a.open, a.handed)
	}
}

// FuzzAssemble feeds length-prefixed messages. Whatever comes, parts keep their invariants and nothing panics.
func FuzzAssemble(f *testing.F) {
	seed := func(messages ...[]byte) {
		var b []byte
		for _, m := range messages {
			b = segment.AppendMessage(b, m)
		}
		f.Add(b)
	}
	seed(beginMsg(100), typeMsg(9000, "mood"), relationMsg(1, 9000), insertMsg(1, "x"), truncateMsg(1), commitMsg(100, 130))
	seed(relationMsg(1, 23), beginMsg(100), insertMsg(1, strings.Repeat("x", 200)), relationMsg(1, 25), insertMsg(1, "x"), commitMsg(100, 130), beginMsg(130), commitMsg(130, 140))
	f.Fuzz(func(t *testing.T, data []byte) {
		var parts []segment.Append
		a := newAssembler(0, 100, collect(&parts), nobody)
		for m, err := range segment.Messages(data) {
			if err != nil {
				break
			}
			if _, err := a.message(m); err != nil {
				break
			}
		}
		var number, ordinal uint32
		for _, p := range parts {
			checkPart(t, p, number, ordinal, p.Frame.Last)
			number, ordinal = number+1, ordinal+p.Frame.Count
			if p.Frame.Last {
				number, ordinal = 0, 0
			}
			if p.Frame.Count == 0 {
				t.Error("a part without changes")
			}
		}
	})
}
