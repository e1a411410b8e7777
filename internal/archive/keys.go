package archive

import (
	"fmt"
	"strconv"
	"strings"

	"tidemark/internal/position"
)

// The names in the bucket, relative to its prefix (contract §4).
const (
	IdentityKey   = "tidemark.json"
	JournalPrefix = "journal/"
	IndexPrefix   = "index/"
	BasePrefix    = "base/"
)

// JournalKey names a journal object: contiguous numbers from 1.
func JournalKey(sequence uint64) string {
	return fmt.Sprintf("%s%016d.tms.zst", JournalPrefix, sequence)
}

// IndexKey names an index object: contiguous numbers from 1.
func IndexKey(sequence uint64) string { return fmt.Sprintf("%s%016d.json", IndexPrefix, sequence) }

// BaseDir is the prefix of a base's objects.
func BaseDir(lsn position.LSN) string { return BasePrefix + lsn.Hex() + "/" }

// ManifestKey names a base's manifest.
func ManifestKey(lsn position.LSN) string { return BaseDir(lsn) + "manifest.json" }

// journalSequence reads the number out of a journal object's key.
func journalSequence(key string) (uint64, bool) { return sequenceOf(key, JournalKey, JournalPrefix) }

// indexSequence reads the number out of an index object's key.
func indexSequence(key string) (uint64, bool) { return sequenceOf(key, IndexKey, IndexPrefix) }

func sequenceOf(key string, name func(uint64) string, prefix string) (uint64, bool) {
	digits, _, _ := strings.Cut(strings.TrimPrefix(key, prefix), ".")
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && name(n) == key
}
