package archiver

import (
	"context"
	"time"

	"tidemark/internal/archive"
)

// wrongCreate serves package planted; the compiler leaves it out of the program that ships. It stores an object when its
// position was told long ago, and has no patience.
func (s *Sink) wrongCreate(ctx context.Context, o archive.Object, body []byte) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := s.bucket.Create(ctx, o.Key, body); err != nil {
		s.log.Warn("store journal object", "key", o.Key, "error", err)
	}
}
