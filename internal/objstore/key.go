package objstore

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// The lengths that every store takes: S3 allows keys of 1024 bytes, file systems names of 255.
const (
	maxKey  = 900
	maxName = 255
)

// TempPrefix begins the names that back ends use for unfinished objects; no key has a name that begins so.
const TempPrefix = ".tmp-"

// CheckKey refuses a key that some store cannot hold as it is, or that could leave its prefix: keys also come from
// manifests, which others may have written. Back ends call it first.
func CheckKey(key string) error {
	if key == "" || len(key) > maxKey || !utf8.ValidString(key) {
		return fmt.Errorf("key %.80q is not allowed: want 1 to %d bytes of UTF-8", key, maxKey)
	}
	for name := range strings.SplitSeq(key, "/") {
		if name == "" || name == "." || name == ".." || len(name) > maxName || strings.HasPrefix(name, TempPrefix) {
			return fmt.Errorf("key %.80q is not allowed: empty or reserved name in it", key)
		}
	}
	for _, r := range key {
		if r < ' ' || r == 0x7f || r == '\\' {
			return fmt.Errorf("key %.80q is not allowed: control character or backslash in it", key)
		}
	}
	return nil
}
