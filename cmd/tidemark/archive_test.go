package main

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"tidemark/internal/archive"
	"tidemark/internal/position"
)

func listedObject(n uint64, damage string) archive.Object {
	return archive.Object{Sequence: n, Key: archive.JournalKey(n), After: position.LSN(n * 16), Last: position.LSN(n*16 + 16), Damage: damage}
}

// TestRanges: every hole is told once, and no range reaches over one.
func TestRanges(t *testing.T) {
	type extent struct{ after, last position.LSN }
	missing := func(n uint64) string { return archive.JournalKey(n) + " is missing" }
	for _, test := range []struct {
		name    string
		objects []archive.Object
		ranges  []extent
		holes   []string
	}{
		{"none", nil, nil, nil},
		{"whole", []archive.Object{listedObject(1, ""), listedObject(2, "")}, []extent{{16, 48}}, nil},
		{"gap", []archive.Object{listedObject(1, ""), listedObject(3, "")}, []extent{{16, 32}, {48, 64}}, []string{missing(2)}},
		{
			"damaged", []archive.Object{listedObject(1, ""), listedObject(2, "bent"), listedObject(3, ""), listedObject(4, "")}, []extent{{16, 32}, {48, 80}},
			[]string{archive.JournalKey(2) + " is damaged: bent"},
		},
		{
			"first, of which nothing is known, and a gap behind it",
			[]archive.Object{{Sequence: 1, Key: archive.JournalKey(1), Damage: "bent"}, listedObject(3, "")},
			[]extent{{48, 64}}, []string{archive.JournalKey(1) + " is damaged: bent", missing(2)},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			runs, holes := ranges(test.objects)
			var got []extent
			for _, r := range runs {
				got = append(got, extent{r.After, r.Last})
			}
			if !slices.Equal(got, test.ranges) || !slices.Equal(holes, test.holes) {
				t.Errorf("ranges %v, holes %q; want %v, %q", got, holes, test.ranges, test.holes)
			}
		})
	}
}

// run executes a command line and returns its exit code and all that it printed.
func run(t *testing.T, args ...string) (int, string) {
	t.Helper()
	var out strings.Builder
	code := execute(t.Context(), args, &out, &out)
	return code, out.String()
}

func TestBadBase(t *testing.T) {
	url := "file://" + t.TempDir()
	bucket, err := archive.OpenBucket(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	if err := archive.Claim(t.Context(), bucket, "7000000000000000001", "app"); err != nil {
		t.Fatal(err)
	}
	key := archive.ManifestKey(0x99)
	if err := bucket.Create(t.Context(), key, []byte("{")); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"archive", "ls"}, {"archive", "ls", "--json"}, {"archive", "verify"}, {"restore", "--latest", "--dry-run"}} {
		if code, said := run(t, append(args, "--archive", url)...); code != exitFailed || !strings.Contains(said, key) {
			t.Errorf("%v: exit code %d, said %q: want 1 and the manifest named", args, code, said)
		}
	}
}

// TestArchiveURL: a bad URL is wrong usage, missing credentials are not.
func TestArchiveURL(t *testing.T) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("HOME", t.TempDir())
	for url, want := range map[string]int{
		"gopher://x": exitUsage, "http://\x7f": exitUsage, "s3:///p": exitUsage, "s3://b/p?regoin=x": exitUsage, "s3://k:hidden@b/p": exitUsage, "file://host/x?a=b": exitUsage,
		"s3://b/p?region=x&endpoint=http://127.0.0.1:1": exitFailed, "file://" + t.TempDir(): exitFailed,
	} {
		for _, args := range [][]string{{"archive", "ls"}, {"archive", "verify"}, {"restore", "--latest", "--dry-run"}} {
			if code, said := run(t, append(args, "--archive", url)...); code != want || strings.Contains(said, "hidden") {
				t.Errorf("%v --archive %s: exit code %d, want %d: %s", args, url, code, want, said)
			}
		}
		t.Setenv("TIDEMARK_SOURCE_URL", "postgres://127.0.0.1:1/app")
		t.Setenv("TIDEMARK_SINKS_ARCHIVE_URL", url)
		if code, said := run(t, "snapshot", "archive"); code != want {
			t.Errorf("snapshot archive with %s: exit code %d, want %d: %s", url, code, want, said)
		}
	}
}

func TestMoment(t *testing.T) {
	for to, want := range map[string]string{
		"2026-03-01T12:00:00.5Z": "", "1999-12-31T23:59:59Z": "", "2000-01-01T01:00:00+01:00": "no archive reaches it", "yesterday": "want RFC 3339",
	} {
		got, err := restoreFlags{to: to}.moment()
		if want == "" && (err != nil || got.Time == 0) || want != "" && (!errors.Is(err, errUsage) || !strings.Contains(err.Error(), want)) {
			t.Errorf("--to %s: %v, %v, want %q", to, got, err, want)
		}
	}
}
