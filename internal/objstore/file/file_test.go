package file

import (
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"tidemark/internal/objstore"
	"tidemark/internal/objstore/objstoretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, text string) *Bucket {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Open(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestConformance(t *testing.T) {
	objstoretest.Run(t, func(t *testing.T) objstore.Bucket {
		return open(t, "file://"+filepath.Join(t.TempDir(), "archive", "below"))
	})
}

func TestRelativePath(t *testing.T) {
	t.Chdir(t.TempDir())
	b := open(t, "file://./data/archive")
	if err := b.Create(t.Context(), "k", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("data/archive/k"); err != nil {
		t.Error(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	occupied := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(occupied, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"file://", "file://host/path", "file:///a?region=x", "file://" + occupied} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), u); err == nil {
			t.Errorf("open %s is not refused", text)
		}
	}
}

func TestModesAndLeftovers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	b := open(t, "file://"+dir)
	if err := b.Create(t.Context(), "x/k", []byte("x")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{dir: 0o700, dir + "/x": 0o700, dir + "/x/k": 0o600} {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v (%v), want %v", name, info.Mode().Perm(), err, want)
		}
	}
	// What a crash before the link leaves is not an object.
	if err := os.WriteFile(dir+"/x/"+objstore.TempPrefix+"1", []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	if keys := objstoretest.Keys(t, b, "", ""); len(keys) != 1 || keys[0] != "x/k" {
		t.Errorf("list: %v", keys)
	}
	if entries, err := os.ReadDir(dir + "/x"); err != nil || len(entries) != 2 {
		t.Errorf("directory holds %v, %v: want the object and the leftover", entries, err)
	}
}

func TestDenied(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "journal"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// A file stands where a directory is needed: no retry mends that, whoever we run as.
	err := open(t, "file://"+dir).Create(t.Context(), "journal/k", nil)
	if !errors.Is(err, objstore.ErrDenied) {
		t.Errorf("create: %v, want ErrDenied", err)
	}
}
