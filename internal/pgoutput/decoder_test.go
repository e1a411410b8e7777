package pgoutput

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"tidemark/internal/change"
	"tidemark/internal/segment"
)

// message builds a message: a byte for a byte, big endian integers, strings with their zero byte, []byte as it is.
func message(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case byte:
			b = append(b, p)
		case rune:
			b = append(b, byte(p))
		case uint16:
			b = binary.BigEndian.AppendUint16(b, p)
		case uint32:
			b = binary.BigEndian.AppendUint32(b, p)
		case uint64:
			b = binary.BigEndian.AppendUint64(b, p)
		case string:
			b = append(append(b, p...), 0)
		case []byte:
			b = append(b, p...)
		}
	}
	return b
}

func text(s string) []byte { return append(message('t', uint32(len(s))), s...) }

func payload(messages ...[]byte) []byte {
	var b []byte
	for _, m := range messages {
		b = segment.AppendMessage(b, m)
	}
	return b
}

var (
	typeMood = message('Y', uint32(20001), "pub lic", "mood")
	relOne   = message('R', uint32(1), "", "one", 'd', uint16(2), byte(1), "id", uint32(23), uint32(0xffffffff), byte(0), "m", uint32(20001), uint32(0xffffffff))
	relTwo   = message('R', uint32(2), "s", "two", 'f', uint16(0))
)

func defined(t *testing.T) *Decoder {
	t.Helper()
	d := NewDecoder()
	must(t, d.Define(payload(typeMood, relOne)))
	must(t, d.Define(payload(relTwo)))
	return d
}

func TestDefine(t *testing.T) {
	d := defined(t)
	rel, ok := d.Relation(1)
	if !ok || rel.String() != "pg_catalog.one" || rel.Identity != change.IdentityDefault || len(rel.Columns) != 2 {
		t.Fatalf("relation is %+v", rel)
	}
	if c := rel.Columns[1]; c != (change.Column{Name: "m", Type: 20001, TypeName: `"pub lic".mood`, TypeMod: -1}) {
		t.Errorf("column is %+v", c)
	}
	if c := rel.Columns[0]; !c.Key || c.TypeName != "" {
		t.Errorf("column is %+v", c)
	}
	must(t, d.Define(payload(typeMood, relOne)))
	if again, _ := d.Relation(1); again != rel {
		t.Error("an equal definition makes another relation")
	}
	must(t, d.Define(payload(message('Y', uint32(20001), "public", "renamed"), relOne)))
	if again, _ := d.Relation(1); again == rel || again.Fingerprint == rel.Fingerprint {
		t.Error("a changed type does not make another relation")
	}
	if _, ok := d.Relation(3); ok {
		t.Error("a relation that was not defined is known")
	}
}

func TestDefineRefuses(t *testing.T) {
	for name, p := range map[string][]byte{
		"nothing":           {},
		"no relation":       payload(typeMood),
		"two relations":     payload(relOne, relTwo),
		"type behind":       payload(relOne, typeMood),
		"a row":             payload(message('I', uint32(1), 'N', uint16(0))),
		"no length":         {0xff},
		"identity":          payload(message('R', uint32(2), "s", "two", 'x', uint16(0))),
		"negative columns":  payload(message('R', uint32(2), "s", "two", 'd', uint16(0xffff))),
		"trailing":          payload(append(relTwo[:len(relTwo):len(relTwo)], 0)),
		"type trailing":     payload(append(typeMood[:len(typeMood):len(typeMood)], 0), relOne),
		"relation cut":      payload(relOne[:len(relOne)-1]),
		"relation name cut": payload(relOne[:8]),
	} {
		if err := NewDecoder().Define(p); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestRows(t *testing.T) {
	d := defined(t)
	f := &segment.Frame{Ordinal: 10, Count: 6, Payload: payload(
		message('O', uint64(7), "origin"),
		message('I', uint32(1), 'N', uint16(2), text("1"), 'n'),
		message('U', uint32(1), 'K', uint16(2), text("1"), 'n', 'N', uint16(2), text("2"), 'u'),
		message('T', uint32(2), byte(3), uint32(1), uint32(2)),
		message('I', uint32(2), 'N', uint16(0)),
		message('D', uint32(2), 'O', uint16(0)),
	)}
	var got []change.Row
	for row, err := range d.Rows(f) {
		must(t, err)
		got = append(got, row.Clone())
	}
	if len(got) != 5 {
		t.Fatalf("%d rows", len(got))
	}
	for i, want := range []uint32{10, 11, 12, 14, 15} {
		if got[i].Ordinal != want {
			t.Errorf("ordinal of row %d is %d, want %d", i, got[i].Ordinal, want)
		}
	}
	if u := got[1]; u.Op != change.Update || !u.OldKey || string(u.Old[0].Data) != "1" || u.Old[1].Kind != change.Null || u.New[1].Kind != change.Unchanged {
		t.Errorf("update is %+v", u)
	}
	if c := got[2]; !c.Cascade || !c.RestartIdentity || len(c.Truncated) != 2 || c.Truncated[1].Name != "two" || c.Relation != nil {
		t.Errorf("truncate is %+v", c)
	}
	if got[3].New == nil || got[4].Old == nil || got[4].OldKey {
		t.Errorf("rows of no columns are %+v and %+v", got[3], got[4])
	}
}

func TestRowsRefuses(t *testing.T) {
	const secret = "s3cret"
	row := message('I', uint32(1), 'N', uint16(2), text(secret), 'n')
	for name, c := range map[string]struct {
		payload []byte
		count   uint32
	}{
		"too few":               {payload(row), 2},
		"too many":              {payload(row, row), 1},
		"truncate over count":   {payload(message('T', uint32(2), byte(0), uint32(1), uint32(2))), 1},
		"nothing":               {nil, 1},
		"unknown relation":      {payload(message('I', uint32(9), 'N', uint16(1), text(secret))), 1},
		"unknown in truncate":   {payload(message('T', uint32(1), byte(0), uint32(9))), 1},
		"truncate of none":      {payload(message('T', uint32(0), byte(0))), 0},
		"one column":            {payload(message('I', uint32(1), 'N', uint16(1), text(secret))), 1},
		"one old column":        {payload(message('D', uint32(1), 'K', uint16(1), text(secret))), 1},
		"trailing":              {payload(append(row[:len(row):len(row)], 'x')), 1},
		"value kind":            {payload(message('I', uint32(1), 'N', uint16(2), text(secret), 'z')), 1},
		"value cut":             {payload(row[:len(row)-3]), 1},
		"huge value":            {payload(message('I', uint32(1), 'N', uint16(1), 't', uint32(0xffffffff))), 1},
		"insert of a key":       {payload(message('I', uint32(1), 'K', uint16(2), text(secret), 'n')), 1},
		"update without new":    {payload(message('U', uint32(1), 'K', uint16(2), text(secret), 'n')), 1},
		"update of two olds":    {payload(message('U', uint32(1), 'K', uint16(0), 'O', uint16(0))), 1},
		"delete of new":         {payload(message('D', uint32(1), 'N', uint16(2), text(secret), 'n')), 1},
		"begin":                 {payload(message('B', uint64(1), uint64(1), uint32(1))), 0},
		"relation":              {payload(relOne), 0},
		"no length":             {[]byte{200}, 0},
		"origin cut":            {payload(message('O', uint64(1))), 0},
		"a logical message":     {payload(message('M', byte(1), uint64(1), "p", uint32(0))), 0},
		"a stream start":        {payload(message('S', uint32(1), byte(1))), 0},
		"negative column count": {payload(message('I', uint32(2), 'N', uint16(0x8000))), 1},
	} {
		n, err := walk(defined(t), &segment.Frame{Payload: c.payload, Count: c.count})
		if n > c.count {
			t.Errorf("%s: %d changes of %d", name, n, c.count)
		}
		if err == nil {
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error tells a value: %v", name, err)
		}
	}
}

// walk counts the changes of a frame up to the first error.
func walk(d *Decoder, f *segment.Frame) (n uint32, err error) {
	for row, err := range d.Rows(f) {
		if err != nil {
			return n, err
		}
		n += uint32(max(1, len(row.Truncated)))
	}
	return n, nil
}

// TestCut cuts every recorded message at every place: no prefix of a message is a message.
func TestCut(t *testing.T) {
	for _, msg := range corpus(t) {
		for n := range min(len(msg), 300) {
			if _, err := parse(msg[:n]); !errors.Is(err, ErrMalformed) {
				t.Fatalf("%d of %d bytes of a %c message: %v", n, len(msg), msg[0], err)
			}
		}
	}
}

func TestHeadsAllocateNothing(t *testing.T) {
	begin, commit := message('B', uint64(1), uint64(2), uint32(3)), message('C', byte(0), uint64(1), uint64(2), uint64(3))
	row, cut := message('D', uint32(1), 'K', uint16(0)), message('T', uint32(2), byte(0), uint32(1), uint32(2))
	into := make([]uint32, 0, 8)
	var err error
	allocs := testing.AllocsPerRun(100, func() {
		_, e1 := ParseBegin(begin)
		_, e2 := ParseCommit(commit)
		_, e3 := RowRelation(row)
		_, e4 := TruncateRelations(cut, into)
		_, e5 := RelationHead(relOne)
		_, e6 := RelationTypes(relOne, into)
		_, e7 := TypeHead(typeMood)
		err = errors.Join(err, e1, e2, e3, e4, e5, e6, e7)
	})
	must(t, err)
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func BenchmarkRows(b *testing.B) {
	d := NewDecoder()
	if err := d.Define(payload(typeMood, relOne)); err != nil {
		b.Fatal(err)
	}
	row := message('U', uint32(1), 'K', uint16(2), text("1"), 'n', 'N', uint16(2), text("2"), text(strings.Repeat("x", 150)))
	f := &segment.Frame{Count: 1000}
	for range f.Count {
		f.Payload = segment.AppendMessage(f.Payload, row)
	}
	b.SetBytes(int64(len(f.Payload)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := walk(d, f); err != nil {
			b.Fatal(err)
		}
	}
}
