package pgoutput

import (
	"slices"
	"testing"

	"tidemark/internal/change"
	"tidemark/internal/segment"
)

func seed(f *testing.F, kinds string) {
	f.Helper()
	for _, msg := range corpus(f) {
		if slices.Contains([]byte(kinds), msg[0]) && len(msg) < 1000 {
			f.Add(msg)
		}
	}
}

func FuzzMessage(f *testing.F) {
	seed(f, "BCORYIUDT")
	f.Add([]byte("M\x01\x00\x00\x00\x00\x00\x00\x00\x01prefix\x00\x00\x00\x00\x02hi"))
	f.Fuzz(agree)
}

// FuzzHeads: what the peeks of capture accept, the full parsers read alike.
func FuzzHeads(f *testing.F) {
	seed(f, "RYIUDT")
	f.Fuzz(func(t *testing.T, msg []byte) {
		id, headErr := RelationHead(msg)
		oids, typesErr := RelationTypes(msg, nil)
		if rel, err := parseRelation(msg, nil); err == nil {
			if headErr != nil || typesErr != nil || rel.ID != id || len(oids) != len(rel.Columns) {
				t.Fatalf("relation %d is %+v, types %v: %v, %v", id, rel, oids, headErr, typesErr)
			}
			for i, c := range rel.Columns {
				if c.Type != oids[i] {
					t.Fatalf("type of column %d is %d and %d", i, c.Type, oids[i])
				}
			}
		}
		oid, headErr := TypeHead(msg)
		if y, err := parseType(msg); err == nil && (headErr != nil || y.oid != oid) {
			t.Fatalf("type %d is %+v: %v", oid, y, headErr)
		}
		id, headErr = RowRelation(msg)
		if m, err := parseRow(msg, nil, nil); err == nil && (headErr != nil || m.relation != id) {
			t.Fatalf("relation of a row %d is %+v: %v", id, m, headErr)
		}
		if ids, err := TruncateRelations(msg, nil); err == nil && len(ids) != (len(msg)-6)/4 {
			t.Fatalf("a truncate of %d bytes lists %d relations", len(msg), len(ids))
		}
	})
}

// FuzzDecode runs arbitrary bytes as a definition and a part. Whatever they are, rows that come out fit their relations
// and ordinals, and a walk without error gives exactly the count.
func FuzzDecode(f *testing.F) {
	types := map[uint32][]byte{}
	var define []byte
	for _, msg := range corpus(f) {
		switch msg[0] {
		case KindType:
			oid, _ := TypeHead(msg)
			types[oid] = msg
		case KindRelation:
			define = definition(f, msg, types)
		case KindInsert, KindUpdate, KindDelete, KindTruncate:
			if len(msg) < 1000 {
				f.Add(define, segment.AppendMessage(segment.AppendMessage(nil, msg), msg), uint32(0), uint32(2))
			}
		}
	}
	f.Fuzz(func(t *testing.T, define, payload []byte, ordinal, count uint32) {
		d := NewDecoder()
		_ = d.Define(define) // refused, it leaves the relation unknown
		next := ordinal
		for row, err := range d.Rows(&segment.Frame{Payload: payload, Ordinal: ordinal, Count: count}) {
			if err != nil {
				return
			}
			if row.Ordinal != next {
				t.Fatalf("ordinal %d, want %d", row.Ordinal, next)
			}
			next += uint32(max(1, len(row.Truncated)))
			checkRow(t, row)
		}
		if next != ordinal+count {
			t.Fatalf("the walk ends at %d, want %d", next, ordinal+count)
		}
	})
}

func checkRow(t *testing.T, row change.Row) {
	t.Helper()
	if row.Op == change.Truncate {
		if len(row.Truncated) == 0 || row.Old != nil || row.New != nil {
			t.Fatalf("truncate is %+v", row)
		}
		return
	}
	n := len(row.Relation.Columns)
	if row.Old != nil && len(row.Old) != n || row.New != nil && len(row.New) != n {
		t.Fatalf("row of %d columns is %+v", n, row)
	}
	if (row.New == nil) != (row.Op == change.Delete) || row.Old != nil && row.Op == change.Insert || row.Old == nil && row.Op == change.Delete {
		t.Fatalf("%s with old %v and new %v", row.Op, row.Old, row.New)
	}
}
