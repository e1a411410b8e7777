package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"tidemark/internal/objstore"
)

// Identity says whose changes an archive holds. It is written once.
type Identity struct {
	Format   int    `json:"format"`
	SystemID string `json:"system_id"`
	Database string `json:"database"`
}

func (i Identity) String() string {
	return fmt.Sprintf("system id %s, database %q", i.SystemID, i.Database)
}

// Claim makes the bucket the archive of a source, or finds that it is already. A bucket of another source is ErrForeign.
func Claim(ctx context.Context, bucket objstore.Bucket, systemID, database string) error {
	want := Identity{Format: Format, SystemID: systemID, Database: database}
	have, err := readIdentity(ctx, bucket)
	if errors.Is(err, ErrEmpty) {
		var body []byte
		if body, err = json.MarshalIndent(want, "", " "); err != nil {
			return fmt.Errorf("encode identity: %w", err)
		}
		if err = bucket.Create(ctx, IdentityKey, append(body, '\n')); err == nil {
			return nil
		}
		if !errors.Is(err, objstore.ErrExists) {
			return fmt.Errorf("claim archive: %w", err)
		}
		have, err = readIdentity(ctx, bucket)
	}
	if err != nil {
		return fmt.Errorf("claim archive: %w", err)
	}
	if have != want {
		return fmt.Errorf("claim archive: it belongs to %s, not to %s; use another bucket or prefix: %w", have, want, ErrForeign)
	}
	return nil
}

func readIdentity(ctx context.Context, bucket objstore.Bucket) (Identity, error) {
	body, err := fetchUpTo(ctx, bucket, IdentityKey, maxMeta)
	if errors.Is(err, objstore.ErrNotFound) {
		return Identity{}, fmt.Errorf("%w: %s is missing", ErrEmpty, IdentityKey)
	}
	if err != nil {
		return Identity{}, err
	}
	return DecodeIdentity(body)
}

// DecodeIdentity reads and checks an identity.
func DecodeIdentity(body []byte) (Identity, error) {
	var i Identity
	if err := json.Unmarshal(body, &i); err != nil {
		return Identity{}, fmt.Errorf("decode %s: %w: %w", IdentityKey, ErrCorrupt, err)
	}
	if i.Format != Format || i.SystemID == "" || i.Database == "" {
		return Identity{}, fmt.Errorf("decode %s: format %d, system id %q, database %q; this version reads format %d: %w",
			IdentityKey, i.Format, i.SystemID, i.Database, Format, ErrCorrupt)
	}
	return i, nil
}
