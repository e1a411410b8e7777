package segment

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"tidemark/internal/position"
	segmentv1 "tidemark/proto/tidemark/segment/v1"
)

// IndexEntry names a place between two transactions.
type IndexEntry struct {
	// Place in the file, in bytes, where the frames of a transaction begin, its definitions first.
	Place int64
	// After is the end LSN of the transaction before, or Header.After.
	After position.LSN
	// MaxTimeBefore is the largest commit time of this segment's transactions before that place; 0 for none.
	MaxTimeBefore position.Time
}

// RelationRows counts a segment's changes in one relation.
type RelationRows struct {
	Relation  uint32
	Inserts   uint64
	Updates   uint64
	Deletes   uint64
	Truncates uint64
}

// Footer closes a segment. segment.proto says what each field means.
type Footer struct {
	Last         position.LSN
	Transactions uint64
	Rows         uint64
	MinTime      position.Time
	MaxTime      position.Time
	Index        []IndexEntry
	// Digest is the SHA-256 of all bytes before the seal frame.
	Digest Digest
	// Relations is sorted by relation id.
	Relations []RelationRows
	// Definitions are the places of all definition frames, growing.
	Definitions []int64
}

// Validate says what contradicts itself.
func (f Footer) Validate() error {
	place := int64(0)
	for _, e := range f.Index {
		if e.Place <= place || e.Place%alignment != 0 {
			return invalid("footer with an index out of order")
		}
		place = e.Place
	}
	place = 0
	for _, d := range f.Definitions {
		if d <= place || d%alignment != 0 {
			return invalid("footer with definitions out of order")
		}
		place = d
	}
	if (f.Transactions == 0) != (len(f.Index) == 0) || f.MinTime > f.MaxTime {
		return invalid("footer that contradicts itself")
	}
	return nil
}

func (f Footer) encode() ([]byte, error) {
	m := &segmentv1.Footer{
		Last: uint64(f.Last), Transactions: f.Transactions, Rows: f.Rows,
		MinTime: int64(f.MinTime), MaxTime: int64(f.MaxTime), Digest: f.Digest[:],
	}
	for _, e := range f.Index {
		m.Index = append(m.Index, &segmentv1.IndexEntry{
			FilePosition: uint64(e.Place), After: uint64(e.After), MaxTimeBefore: int64(e.MaxTimeBefore),
		})
	}
	for _, r := range f.Relations {
		m.Relations = append(m.Relations, &segmentv1.RelationRows{
			Relation: r.Relation, Inserts: r.Inserts, Updates: r.Updates, Deletes: r.Deletes, Truncates: r.Truncates,
		})
	}
	for _, d := range f.Definitions {
		m.Definitions = append(m.Definitions, uint64(d))
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode segment footer: %w", err)
	}
	return b, nil
}

// decodeFooter reads a seal frame's payload.
func decodeFooter(b []byte) (Footer, error) {
	var m segmentv1.Footer
	if err := proto.Unmarshal(b, &m); err != nil {
		return Footer{}, invalid("footer is not a footer message")
	}
	f := Footer{
		Last: position.LSN(m.Last), Transactions: m.Transactions, Rows: m.Rows,
		MinTime: position.Time(m.MinTime), MaxTime: position.Time(m.MaxTime),
	}
	if copy(f.Digest[:], m.Digest) != len(f.Digest) || len(m.Digest) != len(f.Digest) {
		return Footer{}, invalid("footer with a digest of %d bytes", len(m.Digest))
	}
	for _, e := range m.Index {
		f.Index = append(f.Index, IndexEntry{
			Place: int64(e.FilePosition), After: position.LSN(e.After), MaxTimeBefore: position.Time(e.MaxTimeBefore),
		})
	}
	for _, r := range m.Relations {
		f.Relations = append(f.Relations, RelationRows{
			Relation: r.Relation, Inserts: r.Inserts, Updates: r.Updates, Deletes: r.Deletes, Truncates: r.Truncates,
		})
	}
	for _, d := range m.Definitions {
		f.Definitions = append(f.Definitions, int64(d))
	}
	return f, f.Validate()
}
