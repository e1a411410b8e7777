package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
)

// The answers that callers decide on. None of them is mended by trying again.
var (
	// ErrCorrupt: an object is not what was written. The error names the object.
	ErrCorrupt = errors.New("object is damaged")
	// ErrHole: an object between others is missing, or the chain of digests is broken.
	ErrHole = errors.New("archive has a hole")
	// ErrForeign: the bucket belongs to another source, or another writer wrote an object that should be ours.
	ErrForeign = errors.New("archive belongs to another writer")
	// ErrEmpty: there is no archive under that prefix.
	ErrEmpty = errors.New("no archive there")
)

// digestOf is SHA-256 in hexadecimal, as manifests and indexes hold it.
func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
