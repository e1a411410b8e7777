package archive

import (
	"context"
	"encoding/json"
	"fmt"

	"tidemark/internal/objstore"
)

// An index object is due as soon as the objects behind the one before are so many, or so large together as stored. A
// writer that starts reads what no index lists, so both bound its start.
const (
	indexCount = 128
	indexBytes = 64 << 20
)

// Index is an index object.
type Index struct {
	Format   int      `json:"format"`
	Sequence uint64   `json:"sequence"`
	Objects  []Object `json:"objects"`
}

// DecodeIndex reads and checks an index object. The objects in it follow each other.
func DecodeIndex(body []byte) (Index, error) {
	var x Index
	if err := json.Unmarshal(body, &x); err != nil {
		return Index{}, fmt.Errorf("decode index: %w: %w", ErrCorrupt, err)
	}
	if x.Format != Format {
		return Index{}, fmt.Errorf("decode index: format %d, this version reads %d: %w", x.Format, Format, ErrCorrupt)
	}
	if x.Sequence == 0 || len(x.Objects) == 0 {
		return Index{}, fmt.Errorf("decode index: it has no number or no objects: %w", ErrCorrupt)
	}
	for i, o := range x.Objects {
		if err := o.check(); err != nil {
			return Index{}, fmt.Errorf("decode index: %w", err)
		}
		if i == 0 {
			continue
		}
		if reason := o.Follows(x.Objects[i-1]); reason != "" {
			return Index{}, fmt.Errorf("decode index: %s: %w", reason, ErrCorrupt)
		}
	}
	return x, nil
}

// due gives how many of the objects that no index lists yet the next index object takes; 0 when it is not due.
func due(unindexed []Object) int {
	var size int64
	for i, o := range unindexed {
		if size += o.Size; i+1 == indexCount || size >= indexBytes {
			return i + 1
		}
	}
	return 0
}

// PutIndexes writes the index objects that are due and returns the tail without what they list.
func PutIndexes(ctx context.Context, bucket objstore.Bucket, tail Tail) (Tail, error) {
	for n := due(tail.Unindexed); n > 0; n = due(tail.Unindexed) {
		body, err := json.Marshal(Index{Format: Format, Sequence: tail.NextIndex, Objects: tail.Unindexed[:n]})
		if err != nil {
			return tail, fmt.Errorf("encode index: %w", err)
		}
		if err := createSame(ctx, bucket, IndexKey(tail.NextIndex), body); err != nil {
			return tail, fmt.Errorf("store index: %w", err)
		}
		tail.NextIndex++
		tail.Unindexed = append([]Object(nil), tail.Unindexed[n:]...)
	}
	return tail, nil
}
