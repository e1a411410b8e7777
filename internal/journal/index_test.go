package journal_test

import (
	"bytes"
	"context"
	"testing"

	"tidemark/internal/journal"
	"tidemark/internal/position"
	"tidemark/internal/segment"
	"tidemark/internal/vfs/crashfs"
)

// In a large segment a reader starts at the index, and still is given the definitions that stand far before that
// place, in the tail as in a sealed segment.
func TestReadByIndex(t *testing.T) {
	const n = 150
	fs := crashfs.New()
	j, b := mustOpen(t, fs, journal.Config{Dir: dir, SegmentSize: 1 << 20})
	for i := 1; i <= n; i++ {
		payload := segment.AppendMessage(nil, bytes.Repeat([]byte{byte(i)}, 16<<10))
		a := segment.Append{
			Frame: segment.Frame{
				Kind: segment.Part, First: true, Last: true, Xid: uint32(i), Count: 1, Commit: end(i) - 4, End: end(i),
				Time: position.Time(i), Meta: []segment.Rows{{Relation: uint32(10 + i%2), Inserts: 1}}, Payload: payload,
			},
			Defines: []segment.Define{definition(uint32(10+i%2), 1)},
		}
		if err := j.Append(a); err != nil {
			t.Fatal(err)
		}
	}
	mustAwait(t, j, b, n)
	all := j.Segments()
	if len(all) != 3 {
		t.Fatalf("%d segments", len(all))
	}
	for i := range n {
		r, err := j.Read(end(i))
		if err != nil {
			t.Fatal(err)
		}
		var defs segment.Definitions
		for seen := 0; seen < 2 && i+seen < n; {
			f, err := r.Next(context.Background())
			if err != nil {
				t.Fatalf("behind transaction %d: %v", i, err)
			}
			defs.Learn(&f)
			if f.Kind == segment.Definition {
				continue
			}
			seen++
			if f.End != end(i+seen) || f.Payload[len(f.Payload)-1] != byte(i+seen) {
				t.Fatalf("behind transaction %d: %s", i, f.End)
			}
			if _, err := defs.Defines(nil, f.Meta); err != nil {
				t.Fatalf("behind transaction %d: %v", i, err)
			}
		}
		_ = r.Close()
	}
}
