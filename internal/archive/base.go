package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"tidemark/internal/objstore"
	"tidemark/internal/position"
)

// maxToken bounds a table's name in a key: file systems refuse names above 255 bytes.
const maxToken = 200

// SchemaPreName and SchemaPostName are the names of a base's schema parts, relative to the base.
const (
	SchemaPreName  = "schema.pre.sql.zst"
	SchemaPostName = "schema.post.sql.zst"
)

// DataName names a part of a table's rows, relative to the base. Bytes outside A–Z a–z 0–9 _ - are written %XX; a
// name too long for a file system is cut and made unique with its digest.
func DataName(schema, table string, part int) string {
	token := escape(schema) + "." + escape(table)
	if len(token) > maxToken {
		token = token[:maxToken-17] + "~" + digestOf([]byte(schema + "\x00" + table))[:16]
	}
	return fmt.Sprintf("data/%s/%06d.copy.zst", token, part)
}

func escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c == '_' || c == '-' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

// Base writes one base. Its methods may be called from any goroutine, Finish after all parts. A base that was not
// finished does not exist: what is left of it is never read.
type Base struct {
	bucket objstore.Bucket
	lsn    position.LSN
}

// NewBase begins a base at an exact LSN: it will hold exactly the transactions that end at or below lsn.
func NewBase(bucket objstore.Bucket, lsn position.LSN) *Base { return &Base{bucket: bucket, lsn: lsn} }

// PutPart stores a part, durably, under a name relative to the base: SchemaPreName, SchemaPostName, or one from DataName.
// body is compressed already (Compress); rows and raw are its rows and its bytes before compression. Storing the same
// bytes again after an error is fine; other bytes under a name that is taken are ErrForeign.
func (b *Base) PutPart(ctx context.Context, name string, body []byte, rows, raw int64) (Part, error) {
	part := Part{Key: BaseDir(b.lsn) + name, Rows: rows, Size: int64(len(body)), Raw: raw, SHA256: digestOf(body)}
	if err := checkKey(part.Key); err != nil {
		return Part{}, err
	}
	if err := createSame(ctx, b.bucket, part.Key, body); err != nil {
		return Part{}, fmt.Errorf("store part of base: %w", err)
	}
	return part, nil
}

// Finish writes the manifest, which makes the base exist, and claims the archive for its source. Format and LSN are set here.
func (b *Base) Finish(ctx context.Context, m Manifest) error {
	if err := Claim(ctx, b.bucket, m.SystemID, m.Database); err != nil {
		return err
	}
	m.Format, m.LSN = Format, b.lsn
	body, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return fmt.Errorf("encode manifest: %w", err)
	}
	if _, err := DecodeManifest(body); err != nil {
		return err
	}
	if err := createSame(ctx, b.bucket, ManifestKey(b.lsn), body); err != nil {
		return fmt.Errorf("store manifest of base: %w", err)
	}
	return nil
}

// createSame creates an object, and takes one that is there already with the same bytes for its own: the reply to an
// earlier try may have been lost.
func createSame(ctx context.Context, bucket objstore.Bucket, key string, body []byte) error {
	err := bucket.Create(ctx, key, body)
	if !errors.Is(err, objstore.ErrExists) {
		return err
	}
	there, err := fetch(ctx, bucket, key, int64(len(body)))
	if err != nil && !errors.Is(err, ErrCorrupt) {
		return fmt.Errorf("compare with what is there: %w", err)
	}
	if err != nil || digestOf(there) != digestOf(body) {
		return fmt.Errorf("%s exists with other content: %w", key, ErrForeign)
	}
	return nil
}
