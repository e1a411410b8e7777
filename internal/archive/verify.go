package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"tidemark/internal/objstore"
	"tidemark/internal/position"
)

// Problem is something that is not as it must be.
type Problem struct {
	Key    string `json:"key"`
	Reason string `json:"reason"`
}

// Report is what Verify found.
type Report struct {
	Objects int   `json:"objects"` // journal objects that were read
	Bases   int   `json:"bases"`
	Bytes   int64 `json:"bytes"` // as stored
	// After and Last bound the changes that the journal objects hold.
	After position.LSN `json:"after"`
	Last  position.LSN `json:"last"`
	// Problems is empty when everything is there and as it was written.
	Problems []Problem `json:"problems"`
}

// Progress hears how far a long work has come, from one goroutine at a time: units done, of how many, bytes so far.
type Progress func(done, total int, bytes int64)

// Verify reads every object of the archive and checks digests, frames and the chain. What it finds wrong is in the report; an
// error means that it could not find out.
func (s *Store) Verify(ctx context.Context, progress Progress) (Report, error) {
	v := &verifier{store: s, progress: progress}
	if err := v.journal(ctx); err != nil {
		return v.report, err
	}
	if err := v.bases(ctx); err != nil {
		return v.report, err
	}
	slices.SortStableFunc(v.report.Problems, func(a, b Problem) int { return strings.Compare(a.Key, b.Key) })
	return v.report, nil
}

type verifier struct {
	store    *Store
	progress Progress

	mu          sync.Mutex // guards what follows
	report      Report
	done, total int
}

func (v *verifier) problemf(key, format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.report.Problems = append(v.report.Problems, Problem{Key: key, Reason: fmt.Sprintf(format, args...)})
}

func (v *verifier) step(size int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.done++
	v.report.Bytes += size
	if v.progress != nil {
		v.progress(v.done, v.total, v.report.Bytes)
	}
}

// journal compares three things: what is listed, what the indexes say, and what the objects themselves say.
func (v *verifier) journal(ctx context.Context) error {
	set, err := v.store.indexed(ctx)
	if err != nil {
		return err
	}
	for _, key := range set.bad {
		v.problemf(key, "index object is damaged")
	}
	listed, err := v.store.list(ctx, "")
	if err != nil {
		return err
	}
	v.total += len(listed)
	found := make([]Object, len(listed))
	err = v.parallel(ctx, len(listed), func(ctx context.Context, i int) error {
		o, err := v.store.inspect(ctx, listed[i])
		if err != nil {
			return err
		}
		if indexed, ok := set.known[o.Sequence]; ok && o.Damage == "" && !sameObject(o, indexed) {
			o.Damage = "it is not the object that the index lists"
		}
		found[i] = o
		v.step(o.Size)
		return nil
	})
	v.report.Objects = len(found)
	v.chain(found, set)
	return err
}

func sameObject(a, b Object) bool {
	return a.SHA256 == b.SHA256 && a.Digest == b.Digest && a.Size == b.Size
}

func (v *verifier) chain(found []Object, set indexSet) {
	before := Object{}
	if len(found) > 0 {
		v.report.After, v.report.Last = found[0].After, found[len(found)-1].Last
		before.Last = found[0].After // the first object begins where it says
	}
	for _, o := range found {
		if o.Damage != "" {
			v.problemf(o.Key, "%s", o.Damage)
		} else if before.Damage == "" {
			if reason := o.Follows(before); reason != "" {
				v.problemf(JournalKey(before.Sequence+1), "%s", reason)
			}
		}
		before = o
	}
	var newest uint64
	for n := range set.known {
		newest = max(newest, n)
	}
	if newest > before.Sequence {
		v.problemf(JournalKey(before.Sequence+1), "missing, although an index lists objects up to %s", JournalKey(newest))
	}
}

func (v *verifier) bases(ctx context.Context) error {
	bases, bad, err := v.store.Bases(ctx)
	if err != nil {
		return err
	}
	v.report.Problems = append(v.report.Problems, bad...)
	v.report.Bases = len(bases)
	var parts []Part
	for _, m := range bases {
		parts = append(parts, m.AllParts()...)
	}
	v.total += len(parts)
	return v.parallel(ctx, len(parts), func(ctx context.Context, i int) error {
		_, err := v.store.ReadPart(ctx, parts[i])
		switch {
		case errors.Is(err, ErrCorrupt), errors.Is(err, objstore.ErrNotFound):
			v.problemf(parts[i].Key, "%v", err)
		case err != nil:
			return err
		}
		v.step(parts[i].Size)
		return nil
	})
}

func (v *verifier) parallel(ctx context.Context, n int, work func(context.Context, int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for i := range n {
		group.Go(func() error { return work(ctx, i) })
	}
	return group.Wait()
}

// AllParts lists every object of a base but its manifest.
func (m Manifest) AllParts() []Part {
	parts := []Part{m.SchemaPre}
	for _, t := range m.Tables {
		parts = append(parts, t.Parts...)
	}
	return append(parts, m.SchemaPost)
}

// ReadPart reads a part of a base, checks size and digest, and unpacks it. An error that is ErrCorrupt, or objstore.ErrNotFound, names it.
func (s *Store) ReadPart(ctx context.Context, p Part) ([]byte, error) {
	body, err := fetch(ctx, s.bucket, p.Key, p.Size)
	if err != nil {
		return nil, fmt.Errorf("read part of base %s: %w", p.Key, err)
	}
	if digestOf(body) != p.SHA256 {
		return nil, fmt.Errorf("read %s: its digest is not the one in the manifest: %w", p.Key, ErrCorrupt)
	}
	raw, err := Decompress(body, p.Raw)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", p.Key, err)
	}
	return raw, nil
}
