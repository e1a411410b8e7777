package file

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"tidemark/internal/objstore"
)

// Bucket is a directory of objects.
type Bucket struct {
	dir string
	// entered holds the directories whose own names are known to be durable.
	entered sync.Map
}

// Open takes file:///absolute/path, or file://./path relative to the working directory. The directory is made by
// the first Create, so that reading from a wrong path leaves nothing behind.
func Open(_ context.Context, u *url.URL) (*Bucket, error) {
	if u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("open archive %s: %w: a file URL is only a path, such as file:///var/lib/archive", "file://"+u.Host+u.Path, objstore.ErrURL)
	}
	dir := u.Path
	switch {
	case u.Host == "." || u.Host == "..":
		dir = u.Host + u.Path
	case u.Host != "" && u.Host != "localhost":
		return nil, fmt.Errorf("open archive %s: %w: %q is no local path: write file:///%s%s or file://./%s%s", u, objstore.ErrURL, u.Host, u.Host, u.Path, u.Host, u.Path)
	}
	if dir == "" {
		return nil, fmt.Errorf("open archive %s: %w: the path is missing, such as file:///var/lib/archive", u, objstore.ErrURL)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open archive %s: %w", u, err)
	}
	if info, err := os.Stat(abs); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("open archive %s: %w: not a directory", u, objstore.ErrDenied)
	}
	return &Bucket{dir: abs}, nil
}

// Create implements objstore.Bucket.
func (b *Bucket) Create(ctx context.Context, key string, body []byte) error {
	path, err := b.path(ctx, key)
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	if err := b.enter(dir); err != nil {
		return classify("create", key, err)
	}
	if _, err := os.Lstat(path); err == nil {
		// The name may be there without being durable yet: an earlier Create may have failed after its link.
		return errors.Join(fmt.Errorf("create %s: %w", key, objstore.ErrExists), syncDir(dir))
	}
	temp := filepath.Join(dir, objstore.TempPrefix+rand.Text())
	defer os.Remove(temp)
	if err := writeFile(temp, body); err != nil {
		return classify("create", key, err)
	}
	linked := os.Link(temp, path)
	if linked != nil && !errors.Is(linked, fs.ErrExist) {
		return classify("create", key, linked)
	}
	if err := syncDir(dir); err != nil {
		return classify("create", key, err)
	}
	if linked != nil {
		return fmt.Errorf("create %s: %w", key, objstore.ErrExists)
	}
	return nil
}

func writeFile(name string, body []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(body)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// Get implements objstore.Bucket.
func (b *Bucket) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	path, err := b.path(ctx, key)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, classify("get", key, err)
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("get %s: %w", key, objstore.ErrNotFound), err, f.Close())
	}
	return f, nil
}

// Delete implements objstore.Bucket.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	path, err := b.path(ctx, key)
	if err != nil {
		return err
	}
	err = os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	return classify("delete", key, err)
}

func (b *Bucket) path(ctx context.Context, key string) (string, error) {
	if err := objstore.CheckKey(key); err != nil {
		return "", err
	}
	return filepath.Join(b.dir, filepath.FromSlash(key)), ctx.Err()
}

func classify(what, key string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s %s: %w", what, key, objstore.ErrNotFound)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%s %s: %w: %w", what, key, objstore.ErrDenied, err)
	}
	return fmt.Errorf("%s %s: %w", what, key, err)
}
