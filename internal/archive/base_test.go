package archive

import (
	"errors"
	"strings"
	"testing"

	"tidemark/internal/objstore/objstoretest"
)

func TestBase(t *testing.T) {
	bucket := objstoretest.NewFaulty(newBucket(t))
	if err := Claim(t.Context(), bucket, who.SystemID, who.Database); err != nil {
		t.Fatal(err)
	}
	base := NewBase(bucket, 0x1234)
	raw := []byte(strings.Repeat("1\tone\n", 100))
	put := func(name string, rows int64) Part {
		t.Helper()
		body, err := Compress(raw)
		if err != nil {
			t.Fatal(err)
		}
		bucket.LoseReplies(1)
		if _, err := base.PutPart(t.Context(), name, body, rows, int64(len(raw))); !errors.Is(err, objstoretest.ErrInjected) {
			t.Fatalf("put with a lost reply: %v", err)
		}
		part, err := base.PutPart(t.Context(), name, body, rows, int64(len(raw)))
		if err != nil {
			t.Fatalf("put again: %v", err)
		}
		return part
	}
	m := Manifest{
		SystemID: who.SystemID, Database: who.Database, Time: begin, SchemaPre: put(SchemaPreName, 0), SchemaPost: put(SchemaPostName, 0),
		Tables: []Table{{Schema: "public", Name: "a b", Columns: []string{"x", "y"}, Rows: 100, Parts: []Part{put(DataName("public", "a b", 1), 100)}}},
	}
	if _, err := base.PutPart(t.Context(), SchemaPreName, []byte("other"), 0, 5); !errors.Is(err, ErrForeign) {
		t.Errorf("other bytes under the same name: %v", err)
	}
	store := openStore(t, bucket)
	if bases, bad, err := store.Bases(t.Context()); err != nil || len(bases) != 0 || len(bad) != 0 {
		t.Errorf("an unfinished base is listed: %v, %v", bases, err)
	}
	for range 2 {
		if err := base.Finish(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	bases, bad, err := store.Bases(t.Context())
	if err != nil || len(bases) != 1 || len(bad) != 0 || bases[0].LSN != 0x1234 {
		t.Fatalf("bases: %+v, %v", bases, err)
	}
	if got, err := store.ReadPart(t.Context(), bases[0].Tables[0].Parts[0]); err != nil || string(got) != string(raw) {
		t.Errorf("part reads as %d bytes, %v", len(got), err)
	}
	other := NewBase(bucket, 0x99) // one that will be damaged
	empty := Manifest{SystemID: who.SystemID, Database: who.Database, Time: begin}
	for name, part := range map[string]*Part{SchemaPreName: &empty.SchemaPre, SchemaPostName: &empty.SchemaPost} {
		body, err := Compress(nil)
		if err != nil {
			t.Fatal(err)
		}
		if *part, err = other.PutPart(t.Context(), name, body, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := other.Finish(t.Context(), empty); err != nil {
		t.Fatal(err)
	}
	bucket.Bend(ManifestKey(0x99), func(b []byte) []byte { return b[:len(b)/2] })
	if left, bad, err := store.Bases(t.Context()); err != nil || len(left) != 1 || left[0].LSN != 0x1234 || len(bad) != 1 || bad[0].Key != ManifestKey(0x99) {
		t.Errorf("with a damaged manifest: bases %v, bad %v, %v", left, bad, err)
	}
	if report, err := store.Verify(t.Context(), nil); err != nil || report.Bases != 1 || len(report.Problems) != 1 || report.Problems[0].Key != ManifestKey(0x99) {
		t.Errorf("verify with a damaged manifest: %+v, %v", report, err)
	}
	bucket.Bend(ManifestKey(0x99), func(b []byte) []byte { return b })
	key := bases[0].Tables[0].Parts[0].Key
	if err := store.CheckBase(t.Context(), bases[0]); err != nil {
		t.Errorf("check of a whole base: %v", err)
	}
	for name, change := range map[string]func([]byte) []byte{
		"missing": nil, "cut": func(b []byte) []byte { return b[:len(b)-1] }, "bent": func(b []byte) []byte { b[9] ^= 1; return b },
	} {
		bucket.Bend(key, change)
		if err := store.CheckBase(t.Context(), bases[0]); change == nil && (!errors.Is(err, ErrHole) || !strings.Contains(err.Error(), key)) {
			t.Errorf("check of a base without %s: %v", key, err)
		}
		report, err := store.Verify(t.Context(), nil)
		if err != nil || len(report.Problems) != 1 || report.Problems[0].Key != key {
			t.Errorf("%s: verify finds %+v, %v", name, report.Problems, err)
		}
	}
}

func TestDataName(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range [][2]string{
		{"a", "b.c"}, {"a.b", "c"}, {"a", "b/c"}, {"A", "b"}, {"a", "b"}, {"a", `"b`}, {"..", ".."},
		{strings.Repeat("ä", 31), strings.Repeat("ö", 31)}, {strings.Repeat("ä", 31), strings.Repeat("ö", 30) + "ü"},
	} {
		key := DataName(name[0], name[1], 1)
		if seen[key] || checkKey(BaseDir(1)+key) != nil || strings.Count(key, "/") != 2 || len(strings.Split(key, "/")[1]) > 255 {
			t.Errorf("%q has the key %s", name, key)
		}
		seen[key] = true
	}
}

func TestDecompressIsBounded(t *testing.T) {
	body, err := Compress(make([]byte, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := Decompress(body, 1<<20); err != nil || len(raw) != 1<<20 {
		t.Errorf("%d bytes, %v", len(raw), err)
	}
	for _, size := range []int64{0, 100, 1<<20 - 1, 1<<20 + 1} {
		if _, err := Decompress(body, size); !errors.Is(err, ErrCorrupt) {
			t.Errorf("size %d: %v, want ErrCorrupt", size, err)
		}
	}
}
