package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"tidemark/internal/objstore"
)

// enter makes a directory and those above it, down from the bucket's own, and makes their names durable. A directory
// that is there already gets the same once per process: whoever made it may have crashed before the fsync.
func (b *Bucket) enter(dir string) error {
	if _, ok := b.entered.Load(dir); ok {
		return nil
	}
	if dir == b.dir {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	} else {
		if err := b.enter(filepath.Dir(dir)); err != nil {
			return err
		}
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	// The directory above the bucket may be one that we may not read; then its own durability is its owner's affair.
	if err := syncDir(filepath.Dir(dir)); err != nil && (dir != b.dir || !errors.Is(err, fs.ErrPermission)) {
		return err
	}
	b.entered.Store(dir, struct{}{})
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// List implements objstore.Bucket. It reads the directory tree once, before the first entry.
func (b *Bucket) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Object, error] {
	return func(yield func(objstore.Object, error) bool) {
		objects, err := b.collect(ctx, prefix, after)
		if err != nil {
			yield(objstore.Object{}, fmt.Errorf("list %s: %w", prefix, err))
			return
		}
		for _, o := range objects {
			if !yield(o, nil) {
				return
			}
		}
	}
}

func (b *Bucket) collect(ctx context.Context, prefix, after string) ([]objstore.Object, error) {
	var out []objstore.Object
	top := "."
	if i := strings.LastIndexByte(prefix, '/'); i > 0 {
		top = prefix[:i]
		if err := objstore.CheckKey(top); err != nil {
			return nil, err
		}
	}
	err := fs.WalkDir(os.DirFS(b.dir), top, func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile, or nothing there yet
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || d.IsDir() {
			return err
		}
		if !strings.HasPrefix(name, prefix) || name <= after || strings.HasPrefix(path.Base(name), objstore.TempPrefix) {
			return nil
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && info.Mode().IsRegular() {
			out = append(out, objstore.Object{Key: name, Size: info.Size(), Modified: info.ModTime()})
		}
		return err
	})
	if err != nil {
		return nil, classify("read", top, err)
	}
	slices.SortFunc(out, func(x, y objstore.Object) int { return strings.Compare(x.Key, y.Key) })
	return out, nil
}
