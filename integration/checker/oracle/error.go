package oracle

import (
	"fmt"
	"maps"
	"slices"

	"tidemark/internal/position"
)

// Error says that the oracle contradicts itself: the reference log cannot be read or folded, or differs from the heap. A
// run with one is void. Err names tables and keys, never values.
type Error struct {
	At  position.LSN
	Err error
}

// Error names the place and what is wrong there.
func (e *Error) Error() string {
	return fmt.Sprintf("the oracle is wrong, and the run void: at %s: %v", e.At, e.Err)
}

// Unwrap returns what is wrong.
func (e *Error) Unwrap() error { return e.Err }

const (
	namedKeys = 3
	keyBytes  = 80 // of a key that is named
)

// FirstDifferences names up to three keys by which two sets of rows (as Rows and fold.State.Rows give them) differ, and
// how many more there are. It is empty when they are equal.
func FirstDifferences(want, got map[string]uint64) []string {
	var list []string
	n := 0
	add := func(key, what string) {
		if n++; n <= namedKeys {
			list = append(list, fmt.Sprintf("key %s is %s", shorten(key), what))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if hash, ok := got[key]; !ok {
			add(key, "missing")
		} else if hash != want[key] {
			add(key, "different")
		}
	}
	for _, key := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[key]; !ok {
			add(key, "too many")
		}
	}
	if n > namedKeys {
		list = append(list, fmt.Sprintf("and %d more", n-namedKeys))
	}
	return list
}

func shorten(key string) string {
	if len(key) <= keyBytes {
		return fmt.Sprintf("%q", key)
	}
	return fmt.Sprintf("%q… (%d bytes)", key[:keyBytes], len(key))
}
