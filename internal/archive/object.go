package archive

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"tidemark/internal/position"
	"tidemark/internal/segment"
)

// Object is what a plan needs to know of a journal object.
type Object struct {
	Sequence uint64 `json:"sequence"`
	Key      string `json:"key"`
	// After is the end LSN up to which everything is in earlier objects, Last that of the last transaction here.
	After position.LSN `json:"after"`
	Last  position.LSN `json:"last"`
	// MinTime and MaxTime are the smallest and largest commit time; both zero when nothing was committed. Frontiers move Last
	// and are counted in Transactions, but their times are not commit times.
	MinTime      time.Time `json:"min_time,omitzero"`
	MaxTime      time.Time `json:"max_time,omitzero"`
	Transactions uint64    `json:"transactions"`
	Rows         uint64    `json:"rows"`
	// Size is in bytes as stored, Raw as a segment.
	Size int64 `json:"size"`
	Raw  int64 `json:"raw"`
	// SHA256 is of the object's bytes, Digest is the segment's chain digest, Previous that of the object before, empty for
	// the first. All hexadecimal.
	SHA256   string `json:"sha256"`
	Digest   string `json:"digest"`
	Previous string `json:"previous,omitempty"`
	// Slot and Generation say which slot the changes came through, Timeline on which timeline.
	Timeline   uint32       `json:"timeline"`
	Slot       string       `json:"slot"`
	Generation position.LSN `json:"generation"`
	// Created is when the object was begun, on its writer's clock: for display only.
	Created time.Time `json:"created"`
	// Damage says what is wrong with an object; all fields but Sequence, Key and Size may then be unset.
	Damage string `json:"-"`
}

func timeOf(t position.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.Time()
}

// Follows says why o cannot stand behind before, or nothing. It is what holds the chain together.
func (o Object) Follows(before Object) string {
	switch {
	case o.Damage != "":
		return fmt.Sprintf("%s is damaged: %s", o.Key, o.Damage)
	case o.Sequence != before.Sequence+1:
		return fmt.Sprintf("%s is missing", JournalKey(before.Sequence+1))
	case o.After != before.Last:
		return fmt.Sprintf("%s begins after %s, and %s ends at %s", o.Key, o.After, before.Key, before.Last)
	case o.Previous != before.Digest:
		return fmt.Sprintf("%s does not follow %s: the digest of the object before is another", o.Key, before.Key)
	}
	return ""
}

// check says what is wrong with an entry of an index, or nothing.
func (o Object) check() error {
	bad := func(what string) error { return fmt.Errorf("entry of object %d: %s: %w", o.Sequence, what, ErrCorrupt) }
	switch {
	case o.Sequence == 0 || o.Key != JournalKey(o.Sequence):
		return bad("number and key do not agree")
	case o.Last < o.After || o.MaxTime.Before(o.MinTime) || (o.Transactions == 0) != (o.Last == o.After):
		return bad("it contradicts itself")
	case o.Size <= 0 || o.Raw <= 0:
		return bad("it has no size")
	case !isDigest(o.SHA256) || !isDigest(o.Digest) || (o.Sequence > 1) != isDigest(o.Previous):
		return bad("digests are missing")
	}
	return nil
}

func isDigest(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == len(segment.Digest{})
}

// describe makes an Object of a closed segment that was walked, and of its bytes as stored.
func describe(h segment.Header, f segment.Footer, chain segment.Digest, raw int64, body []byte) Object {
	o := Object{
		Sequence: h.Sequence, Key: JournalKey(h.Sequence), After: h.After, Last: f.Last, MinTime: timeOf(f.MinTime), MaxTime: timeOf(f.MaxTime),
		Transactions: f.Transactions, Rows: f.Rows, Size: int64(len(body)), Raw: raw, SHA256: digestOf(body), Digest: chain.String(),
		Timeline: h.Timeline, Slot: h.Slot, Generation: h.Generation, Created: h.Created,
	}
	if !h.Previous.IsZero() {
		o.Previous = h.Previous.String()
	}
	return o
}

// ChainDigest gives o.Digest as the next object's header needs it.
func (o Object) ChainDigest() (segment.Digest, error) {
	var d segment.Digest
	b, err := hex.DecodeString(o.Digest)
	if err != nil || copy(d[:], b) != len(d) {
		return d, errors.Join(fmt.Errorf("read digest of %s: %w", o.Key, ErrCorrupt), err)
	}
	return d, nil
}
