package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"tidemark/internal/objstore"
)

// readers is how many small objects are read at the same time.
const readers = 8

// Store reads an archive. Its methods may be called from any goroutine.
type Store struct {
	bucket   objstore.Bucket
	identity Identity
}

// OpenStore reads the archive's identity. It is ErrEmpty when there is none.
func OpenStore(ctx context.Context, bucket objstore.Bucket) (*Store, error) {
	identity, err := readIdentity(ctx, bucket)
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	return &Store{bucket: bucket, identity: identity}, nil
}

// Identity says whose changes the archive holds.
func (s *Store) Identity() Identity { return s.identity }

// Bases reads the manifests of all bases, oldest LSN first. Those that are damaged or of another source are told of in bad: they
// are no bases, and the others are as good as ever.
func (s *Store) Bases(ctx context.Context) (good []Manifest, bad []Problem, err error) {
	var keys []string
	for o, err := range s.bucket.List(ctx, BasePrefix, "") {
		if err != nil {
			return nil, nil, fmt.Errorf("list bases: %w", err)
		}
		if strings.HasSuffix(o.Key, "/manifest.json") {
			keys = append(keys, o.Key)
		}
	}
	bases, reasons := make([]Manifest, len(keys)), make([]error, len(keys))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for i, key := range keys {
		group.Go(func() (err error) {
			bases[i], err = s.readManifest(ctx, key)
			if errors.Is(err, ErrCorrupt) || errors.Is(err, ErrForeign) || errors.Is(err, objstore.ErrNotFound) {
				reasons[i], err = err, nil
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, nil, err
	}
	for i, reason := range reasons {
		if reason == nil {
			good = append(good, bases[i])
			continue
		}
		bad = append(bad, Problem{Key: keys[i], Reason: reason.Error()})
	}
	return good, bad, nil
}

func (s *Store) readManifest(ctx context.Context, key string) (Manifest, error) {
	body, err := fetchUpTo(ctx, s.bucket, key, maxMeta)
	if err != nil {
		return Manifest{}, fmt.Errorf("read base: %w", err)
	}
	m, err := DecodeManifest(body)
	if err != nil {
		return Manifest{}, fmt.Errorf("read %s: %w", key, err)
	}
	if key != ManifestKey(m.LSN) || m.SystemID != s.identity.SystemID || m.Database != s.identity.Database {
		return Manifest{}, fmt.Errorf("read %s: it is the manifest of %s of system id %s, database %q: %w",
			key, m.LSN, m.SystemID, m.Database, ErrForeign)
	}
	return m, nil
}

// Objects lists all journal objects in order. A missing or damaged one shows as a gap in the numbers, or in Damage; see
// Object.Follows. Objects that no index lists are read; of the others presence and size are compared.
func (s *Store) Objects(ctx context.Context) ([]Object, error) {
	indexes, err := s.indexed(ctx)
	if err != nil {
		return nil, err
	}
	return s.objects(ctx, indexes)
}

func (s *Store) objects(ctx context.Context, indexes indexSet) ([]Object, error) {
	all, err := s.list(ctx, "")
	if err != nil {
		return nil, err
	}
	// Of the objects of the unbroken run of indexes only presence and size are compared; behind it every object is looked up.
	listed := slices.Clone(indexes.unbroken)
	rest := mark(listed, all)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for i := range rest {
		if o, ok := indexes.known[rest[i].Sequence]; ok {
			rest[i] = o
			continue
		}
		group.Go(func() (err error) {
			rest[i], err = s.inspect(ctx, rest[i])
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return append(listed, rest...), nil
}

// mark sets the damage of objects of the indexes that a listing does not have, or has with another size. It returns what the
// listing has behind them.
func mark(indexed, listed []Object) []Object {
	next := 0
	for i := range indexed {
		o := &indexed[i]
		for next < len(listed) && listed[next].Sequence < o.Sequence {
			next++
		}
		switch {
		case next == len(listed) || listed[next].Sequence > o.Sequence:
			o.Damage = "it is missing"
		case listed[next].Size != o.Size:
			o.Damage = fmt.Sprintf("it has %d bytes, want %d", listed[next].Size, o.Size)
		}
		if next < len(listed) && listed[next].Sequence == o.Sequence {
			next++
		}
	}
	return listed[next:]
}

// list gives the journal objects behind a key, with no more than a listing tells.
func (s *Store) list(ctx context.Context, after string) ([]Object, error) {
	var out []Object
	for o, err := range s.bucket.List(ctx, JournalPrefix, after) {
		if err != nil {
			return nil, fmt.Errorf("list journal objects: %w", err)
		}
		if n, ok := journalSequence(o.Key); ok {
			out = append(out, Object{Sequence: n, Key: o.Key, Size: o.Size})
		}
	}
	return out, nil
}

// inspect reads an object and says what it is, or what is wrong with it.
func (s *Store) inspect(ctx context.Context, listed Object) (Object, error) {
	o, err := s.examine(ctx, listed)
	if errors.Is(err, ErrCorrupt) || errors.Is(err, ErrForeign) || errors.Is(err, objstore.ErrNotFound) {
		listed.Damage = err.Error()
		return listed, nil
	}
	return o, err
}

// indexSet is what the index objects say.
type indexSet struct {
	// known has the objects of every good index object.
	known map[uint64]Object
	// unbroken holds the objects of the index objects 1, 2, … up to the first that is missing or damaged.
	unbroken []Object
	next     uint64
	bad      []string
}

// indexed reads all index objects.
func (s *Store) indexed(ctx context.Context) (indexSet, error) {
	var keys []string
	for o, err := range s.bucket.List(ctx, IndexPrefix, "") {
		if err != nil {
			return indexSet{}, fmt.Errorf("list index objects: %w", err)
		}
		if _, ok := indexSequence(o.Key); ok {
			keys = append(keys, o.Key)
		}
	}
	indexes := make([]Index, len(keys))
	group, reading := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for i, key := range keys {
		group.Go(func() (err error) {
			indexes[i], err = s.readIndex(reading, key)
			if errors.Is(err, ErrCorrupt) {
				return nil // left empty: the objects themselves say the same
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return indexSet{}, err
	}
	return gather(keys, indexes), nil
}

func gather(keys []string, indexes []Index) indexSet {
	set := indexSet{known: map[uint64]Object{}, next: 1}
	for i, x := range indexes {
		if x.Sequence == 0 {
			set.bad = append(set.bad, keys[i])
		}
		for _, o := range x.Objects {
			set.known[o.Sequence] = o
		}
		if x.Sequence == set.next && continues(set.unbroken, x.Objects) {
			set.unbroken = append(set.unbroken, x.Objects...)
			set.next++
		}
	}
	return set
}

func continues(before, objects []Object) bool {
	if len(before) == 0 {
		return objects[0].Sequence == 1
	}
	return objects[0].Follows(before[len(before)-1]) == ""
}

func (s *Store) readIndex(ctx context.Context, key string) (Index, error) {
	body, err := fetchUpTo(ctx, s.bucket, key, maxMeta)
	if err != nil {
		return Index{}, fmt.Errorf("read index: %w", err)
	}
	x, err := DecodeIndex(body)
	if err != nil {
		return Index{}, fmt.Errorf("read %s: %w", key, err)
	}
	if key != IndexKey(x.Sequence) {
		return Index{}, fmt.Errorf("read %s: it is index %d: %w", key, x.Sequence, ErrCorrupt)
	}
	return x, nil
}

// Tail is the archive's end, from which a writer goes on.
type Tail struct {
	// Last is the newest journal object; nil when there is none.
	Last *Object
	// Unindexed holds the objects that no index lists yet, and NextIndex is the number of the index that will.
	Unindexed []Object
	NextIndex uint64
	// Damaged holds objects of the indexes that are missing, or have another size. They do not keep a writer from going on: changes
	// from here on can be restored from a later base.
	Damaged []Problem
}

// Tail finds the archive's end and verifies the objects that no index lists. A hole or a damaged object there is an error.
func (s *Store) Tail(ctx context.Context) (Tail, error) {
	set, err := s.indexed(ctx)
	if err != nil {
		return Tail{}, err
	}
	objects, err := s.objects(ctx, set)
	if err != nil {
		return Tail{}, err
	}
	if len(set.bad) > 0 {
		return Tail{}, fmt.Errorf("find the archive's end: %s is damaged; remove it, and it is written again: %w", set.bad[0], ErrCorrupt)
	}
	tail := Tail{NextIndex: set.next, Unindexed: objects[len(set.unbroken):]}
	before := Object{}
	for _, o := range objects[:len(set.unbroken)] {
		if o.Damage != "" {
			tail.Damaged = append(tail.Damaged, Problem{Key: o.Key, Reason: o.Damage})
		}
	}
	if n := len(set.unbroken); n > 0 {
		before = set.unbroken[n-1]
		tail.Last = &before
	}
	for i, o := range tail.Unindexed {
		if before.Sequence == 0 {
			before = Object{Last: o.After} // the first object begins where it says
		}
		if reason := o.Follows(before); reason != "" {
			return Tail{}, fmt.Errorf("find the archive's end: %s: %w", reason, ErrHole)
		}
		before, tail.Last = o, &tail.Unindexed[i]
	}
	return tail, nil
}

// Check finds out by listing that all objects are there with their sizes, before a long work begins.
func (s *Store) Check(ctx context.Context, objects []Object) error {
	if len(objects) == 0 {
		return nil
	}
	sizes, err := s.sizes(ctx, JournalPrefix, JournalKey(objects[0].Sequence-1))
	if err != nil {
		return err
	}
	for _, o := range objects {
		if err := checkSize(sizes, o.Key, o.Size); err != nil {
			return err
		}
	}
	return nil
}

// CheckBase finds out by listing that all parts of a base are there with their sizes.
func (s *Store) CheckBase(ctx context.Context, m Manifest) error {
	sizes, err := s.sizes(ctx, BaseDir(m.LSN), "")
	if err != nil {
		return err
	}
	for _, p := range m.AllParts() {
		if err := checkSize(sizes, p.Key, p.Size); err != nil {
			return err
		}
	}
	return nil
}

// sizes lists what is under a prefix behind a key.
func (s *Store) sizes(ctx context.Context, prefix, after string) (map[string]int64, error) {
	out := map[string]int64{}
	for o, err := range s.bucket.List(ctx, prefix, after) {
		if err != nil {
			return nil, fmt.Errorf("check archive: %w", err)
		}
		out[o.Key] = o.Size
	}
	return out, nil
}

func checkSize(sizes map[string]int64, key string, want int64) error {
	size, ok := sizes[key]
	if !ok {
		return fmt.Errorf("check archive: %s is missing: %w", key, ErrHole)
	}
	if size != want {
		return fmt.Errorf("check archive: %s has %d bytes, want %d: %w", key, size, want, ErrCorrupt)
	}
	return nil
}
