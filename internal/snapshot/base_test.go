package snapshot

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"tidemark/internal/archive"
	"tidemark/internal/objstore"
	"tidemark/internal/objstore/file"
	"tidemark/internal/postgres"
	"tidemark/internal/postgres/pgtest"
)

func bucket(t *testing.T) objstore.Bucket {
	t.Helper()
	b, err := file.Open(t.Context(), &url.URL{Scheme: "file", Path: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestTakeBase takes a base in small parts, restores it by hand, and compares.
func TestTakeBase(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		sourceURL, to := source(t, major), bucket(t)
		m, err := TakeBase(t.Context(), BaseOptions{SourceURL: sourceURL, Bucket: to, Publication: "tidemark", PartSize: 20000, Jobs: 3, Log: discard()})
		if err != nil {
			t.Fatal(err)
		}
		stored, err := archive.DecodeManifest(get(t, to, archive.ManifestKey(m.LSN)))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(m, stored); diff != "" {
			t.Errorf("returned manifest differs from the stored one:\n%s", diff)
		}
		target := pgtest.Database(t, major)
		conn := session(t, target)
		script(t, conn, to, m.SchemaPre)
		for _, table := range m.Tables {
			if table.Name == "plain" && len(table.Parts) < 10 {
				t.Errorf("table plain is in %d parts", len(table.Parts))
			}
			if table.Name == "nothing" && len(table.Parts) != 0 {
				t.Errorf("empty table has %d parts", len(table.Parts))
			}
			in := Table{Schema: table.Schema, Name: table.Name, Columns: table.Columns}.copyIn()
			for _, part := range table.Parts {
				raw := unpacked(t, to, part)
				tag, err := conn.PgConn().CopyFrom(t.Context(), bytes.NewReader(raw), in)
				if err != nil || tag.RowsAffected() != part.Rows {
					t.Fatalf("%s: %d rows, want %d: %v", part.Key, tag.RowsAffected(), part.Rows, err)
				}
			}
		}
		script(t, conn, to, m.SchemaPost)
		if diff := cmp.Diff(digests(t, session(t, sourceURL)), digests(t, session(t, target))); diff != "" {
			t.Errorf("restored base differs (-source +restored):\n%s", diff)
		}
		want := map[string]archive.Sequence{
			"up":    {Schema: "public", Name: "up", LastValue: 1000, IsCalled: true, Increment: 1},
			"down":  {Schema: "public", Name: "down", LastValue: -500, IsCalled: true, Increment: -10},
			"fresh": {Schema: "public", Name: "fresh", LastValue: 42, Increment: 1},
		}
		for _, s := range m.Sequences {
			if w, ok := want[s.Name]; ok && s != w {
				t.Errorf("sequence is %+v, want %+v", s, w)
			}
			delete(want, s.Name)
		}
		if len(want) > 0 {
			t.Errorf("sequences are missing: %v", want)
		}
		noSlots(t, sourceURL)
	})
}

func script(t *testing.T, conn *pgx.Conn, b objstore.Bucket, part archive.Part) {
	t.Helper()
	if err := postgres.ExecScript(t.Context(), conn, unpacked(t, b, part)); err != nil {
		t.Fatal(err)
	}
}

func unpacked(t *testing.T, b objstore.Bucket, part archive.Part) []byte {
	t.Helper()
	raw, err := archive.Decompress(get(t, b, part.Key), part.Raw)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func get(t *testing.T, b objstore.Bucket, key string) []byte {
	t.Helper()
	r, err := b.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	body, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// brittle is a bucket that refuses after some objects.
type brittle struct {
	objstore.Bucket
	left atomic.Int64
}

var errFull = errors.New("bucket is full")

func (b *brittle) Create(ctx context.Context, key string, body []byte) error {
	if b.left.Add(-1) < 0 {
		return errFull
	}
	return b.Bucket.Create(ctx, key, body)
}

// TestManifestIsLast: whatever object fails, there is no base.
func TestManifestIsLast(t *testing.T) {
	sourceURL := source(t, 0)
	opts := BaseOptions{SourceURL: sourceURL, Publication: "tidemark", PartSize: 64 << 10, Log: discard()}
	total := 0
	for n := int64(0); ; n += 5 {
		b := &brittle{Bucket: bucket(t)}
		b.left.Store(n)
		opts.Bucket = b
		_, err := TakeBase(t.Context(), opts)
		if err == nil {
			break
		}
		if !errors.Is(err, errFull) {
			t.Fatalf("after %d objects: %v", n, err)
		}
		total++
		for o, err := range b.List(t.Context(), archive.BasePrefix, "") {
			if err != nil || strings.HasSuffix(o.Key, "manifest.json") {
				t.Fatalf("after %d objects there is %s, %v", n, o.Key, err)
			}
		}
	}
	if total < 3 {
		t.Errorf("only %d failures", total)
	}
	noSlots(t, sourceURL)
}

// TestParts cuts at ends of rows only, however the text arrives.
func TestParts(t *testing.T) {
	text := strings.Repeat("a\tb\n", 10) + strings.Repeat("x", 50) + "\n" + "\n\n" + "last\n"
	for _, chunk := range []int{1, 3, 7, len(text)} {
		b := bucket(t)
		w := &parts{ctx: t.Context(), table: Table{Schema: "s", Name: "t"},
			base: &base{BaseOptions: BaseOptions{PartSize: 16}, told: silent{}, to: archive.NewBase(b, 1)}}
		for at := 0; at < len(text); at += chunk {
			if _, err := w.Write([]byte(text[at:min(at+chunk, len(text))])); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.cut(); err != nil {
			t.Fatal(err)
		}
		var got string
		var rows int64
		for _, part := range w.list {
			raw := string(unpacked(t, b, part))
			if !strings.HasSuffix(raw, "\n") || int64(strings.Count(raw, "\n")) != part.Rows {
				t.Errorf("part %q of %d rows", raw, part.Rows)
			}
			got += raw
			rows += part.Rows
		}
		if got != text || rows != 14 || w.total != 14 || len(w.list) < 4 {
			t.Errorf("chunks of %d: %d rows in %d parts: %q", chunk, rows, len(w.list), got)
		}
	}
}
