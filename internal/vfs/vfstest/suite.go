package vfstest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"testing"

	"tidemark/internal/vfs"
)

// Run tests an implementation. open returns a file system and an empty directory in it.
func Run(t *testing.T, open func(t *testing.T) (vfs.FS, string)) {
	for name, test := range map[string]func(t *testing.T, f vfs.FS, dir string){
		"open": testOpen, "read and write": testReadWrite, "truncate": testTruncate, "names": testNames,
		"remove while open": testRemoveOpen, "directories": testDirectories, "lock": testLock,
	} {
		t.Run(name, func(t *testing.T) {
			f, dir := open(t)
			test(t, f, dir)
		})
	}
}

func create(t *testing.T, f vfs.FS, name string) vfs.File {
	t.Helper()
	file, err := f.Open(name, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return file
}

func testOpen(t *testing.T, f vfs.FS, dir string) {
	name := path.Join(dir, "a")
	if _, err := f.Open(name, false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open what is not there: %v", err)
	}
	create(t, f, name)
	if _, err := f.Open(name, true); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create what is there: %v", err)
	}
	if _, err := f.Open(path.Join(dir, "no", "a"), true); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("create in a directory that is not there: %v", err)
	}
	file, err := f.Open(name, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Error(err)
	}
	if _, err := file.WriteAt([]byte("x"), 0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("write to a closed file: %v", err)
	}
	if err := file.Sync(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("sync of a closed file: %v", err)
	}
}

func testReadWrite(t *testing.T, f vfs.FS, dir string) {
	file := create(t, f, path.Join(dir, "a"))
	for place, text := range map[int64]string{0: "begin", 10: "behind a hole"} {
		if n, err := file.WriteAt([]byte(text), place); n != len(text) || err != nil {
			t.Fatalf("write at %d: %d, %v", place, n, err)
		}
	}
	other, err := f.Open(path.Join(dir, "a"), false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	want := []byte("begin\x00\x00\x00\x00\x00behind a hole")
	got := make([]byte, 100)
	n, err := other.ReadAt(got, 0)
	if !errors.Is(err, io.EOF) || !bytes.Equal(got[:n], want) {
		t.Errorf("read %q, %v", got[:n], err)
	}
	if n, err := other.ReadAt(got[:5], 10); n != 5 || err != nil || string(got[:5]) != "behin" {
		t.Errorf("read %q, %v", got[:n], err)
	}
	if n, err := other.ReadAt(got[:5], 1000); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read behind the end: %d, %v", n, err)
	}
	if size, err := other.Size(); err != nil || size != int64(len(want)) {
		t.Errorf("size is %d, %v", size, err)
	}
	if err := file.Sync(); err != nil {
		t.Error(err)
	}
}

func testTruncate(t *testing.T, f vfs.FS, dir string) {
	file := create(t, f, path.Join(dir, "a"))
	if _, err := file.WriteAt([]byte("0123456789"), 0); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{4, 8} {
		if err := file.Truncate(size); err != nil {
			t.Fatal(err)
		}
		if got, err := file.Size(); err != nil || got != size {
			t.Errorf("size is %d, %v; want %d", got, err, size)
		}
	}
	got := make([]byte, 8)
	if _, err := file.ReadAt(got, 0); err != nil || string(got) != "0123\x00\x00\x00\x00" {
		t.Errorf("read %q, %v", got, err)
	}
}

func testNames(t *testing.T, f vfs.FS, dir string) {
	for _, n := range []string{"b", "c", "a"} {
		create(t, f, path.Join(dir, n))
	}
	if err := f.MakeDir(path.Join(dir, "directory")); err != nil {
		t.Fatal(err)
	}
	if err := f.Remove(path.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	if err := f.Remove(path.Join(dir, "b")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("remove what is not there: %v", err)
	}
	if err := f.SyncDir(dir); err != nil {
		t.Error(err)
	}
	if names, err := f.Names(dir); err != nil || !slices.Equal(names, []string{"a", "c"}) {
		t.Errorf("names are %q, %v", names, err)
	}
	if _, err := f.Names(path.Join(dir, "no")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("names of what is not there: %v", err)
	}
}

func testRemoveOpen(t *testing.T, f vfs.FS, dir string) {
	name := path.Join(dir, "a")
	file := create(t, f, name)
	if _, err := file.WriteAt([]byte("old"), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Remove(name); err != nil {
		t.Fatal(err)
	}
	create(t, f, name)
	got := make([]byte, 3)
	if _, err := file.ReadAt(got, 0); err != nil || string(got) != "old" {
		t.Errorf("read %q, %v from a removed file", got, err)
	}
}

func testDirectories(t *testing.T, f vfs.FS, dir string) {
	deep := path.Join(dir, "x", "y")
	for range 2 {
		if err := f.MakeDir(deep); err != nil {
			t.Fatal(err)
		}
	}
	create(t, f, path.Join(deep, "a"))
	if err := f.MakeDir(path.Join(deep, "a")); err == nil {
		t.Error("a directory was made where a file is")
	}
	if err := f.SyncDir(path.Join(dir, "no")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("sync of a directory that is not there: %v", err)
	}
}

func testLock(t *testing.T, f vfs.FS, dir string) {
	for range 2 {
		lock, err := f.Lock(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Lock(dir); !errors.Is(err, vfs.ErrLocked) {
			t.Errorf("second lock: %v", err)
		}
		if err := lock.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
