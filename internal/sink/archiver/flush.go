package archiver

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"tidemark/internal/archive"
	"tidemark/internal/objstore"
	"tidemark/internal/planted"
	"tidemark/internal/segment"
)

// begin opens the next object. The first object of an archive begins where the journal does.
func (s *Sink) begin(f *segment.Frame) error {
	sequence, after, previous := uint64(1), s.stored, segment.Digest{}
	if last := s.tail.Last; last != nil {
		var err error
		sequence = last.Sequence + 1
		if previous, err = last.ChainDigest(); err != nil {
			return err
		}
	} else if after, _ = s.extent(); f.End != 0 && after >= f.End {
		return fmt.Errorf("begin archive: the journal now begins behind %s, after the transaction that ends at %s", after, f.End)
	}
	var nonce [8]byte
	_, _ = rand.Read(nonce[:]) // never fails, says its documentation
	var err error
	s.writer, err = archive.NewWriter(s.stream.header(sequence, after, previous, binary.LittleEndian.Uint64(nonce[:])))
	s.dirty = time.Now()
	return err
}

// flush stores what waits as one object. What a crash leaves at each step:
//
//	before Create: nothing, the journal still holds it all;
//	within: nothing or the whole object, which the next Open finds by listing;
//	after, before an index that is due: the next Open writes the index.
func (s *Sink) flush(ctx context.Context) error {
	writer := s.writer
	s.writer = nil
	object, body, err := writer.Finish()
	if err != nil {
		return err
	}
	if planted.Is(planted.ArchiveEarly) {
		go s.wrongCreate(context.WithoutCancel(ctx), object, body)
	} else if err := s.create(ctx, object, body); err != nil {
		return err
	}
	delete(s.sent, object.Sequence)
	s.tail.Last, s.stored = &object, object.Last
	s.tail.Unindexed = append(s.tail.Unindexed, object)
	s.log.Debug("archive object stored", "key", object.Key, "transactions", object.Transactions, "bytes", object.Size, "last", object.Last.String())
	return s.index(ctx)
}

// index writes the index objects that are due. The data is safe without them, so a store that has just become unreachable
// is left to the next flush.
func (s *Sink) index(ctx context.Context) error {
	tail, err := archive.PutIndexes(ctx, s.bucket, s.tail)
	s.tail = tail
	if errors.Is(err, archive.ErrForeign) || errors.Is(err, objstore.ErrDenied) {
		return err
	}
	if err != nil {
		s.log.Warn("archive index waits for the next object", "error", err)
	}
	return nil
}

func (s *Sink) create(ctx context.Context, o archive.Object, body []byte) error {
	err := s.bucket.Create(ctx, o.Key, body)
	if err == nil {
		return nil
	}
	if !errors.Is(err, objstore.ErrExists) {
		s.sent[o.Sequence] = append(s.sent[o.Sequence], o.SHA256)
		return fmt.Errorf("store journal object: %w", err)
	}
	return s.collide(ctx, o)
}

// errTaken sends the Runner back to Open, which takes up what is there.
var errTaken = errors.New("an earlier write of ours arrived late")

// collide decides whose the object is that has our number.
func (s *Sink) collide(ctx context.Context, o archive.Object) error {
	r, err := s.bucket.Get(ctx, o.Key)
	if err != nil {
		return fmt.Errorf("compare with what is there: %w", err)
	}
	body, err := io.ReadAll(io.LimitReader(r, archive.MaxObject+1))
	if err := errors.Join(err, r.Close()); err != nil {
		return fmt.Errorf("compare with what is there: read %s: %w", o.Key, err)
	}
	identity := archive.Identity{SystemID: s.stream.SystemID, Database: s.stream.Database}
	there, err := archive.Examine(identity, o.Sequence, body)
	switch {
	case err != nil:
		return fmt.Errorf("store %s: the number is taken: %w", o.Key, err)
	case there.SHA256 == o.SHA256:
		return nil
	case slices.Contains(s.sent[o.Sequence], there.SHA256), there.Created.Before(s.started) && there.After == o.After && there.Previous == o.Previous:
		return fmt.Errorf("store %s: %w", o.Key, errTaken)
	}
	return fmt.Errorf("store %s: another writer created it at %s: this one is fenced and stops; let only one service write to this archive: %w",
		o.Key, there.Created.Format(time.RFC3339), archive.ErrForeign)
}
