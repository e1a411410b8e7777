package throwaway

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

// Oldest is the oldest major version that Tidemark supports.
const Oldest = 14

// ErrNoServer says that no server program of the wanted version is on this machine.
var ErrNoServer = errors.New("no PostgreSQL server program found")

// CacheDir is where `make setup` puts server programs of other versions: $TIDEMARK_CACHE, or /var/cache/tidemark for
// root (the postgres user must be able to read it), or ~/.cache/tidemark.
func CacheDir() string {
	if dir := os.Getenv("TIDEMARK_CACHE"); dir != "" {
		return dir
	}
	if os.Geteuid() == 0 {
		return "/var/cache/tidemark"
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return filepath.Join(os.TempDir(), "tidemark-cache")
	}
	return filepath.Join(home, ".cache", "tidemark")
}

// Find returns the directory of initdb and postgres of a major version; 0 takes the newest installed one of at least
// Oldest, and a cached one only when none is installed.
func Find(ctx context.Context, major int) (dir string, found int, err error) {
	for _, dir := range candidates(major) {
		v, err := version(ctx, dir)
		if err != nil || v < Oldest || (major != 0 && v != major) {
			continue
		}
		return dir, v, nil
	}
	if major == 0 {
		return "", 0, fmt.Errorf("%w: install PostgreSQL %d or newer (Debian: apt-get install postgresql)", ErrNoServer, Oldest)
	}
	return "", 0, fmt.Errorf("%w: version %d; run 'make setup PG=%d'", ErrNoServer, major, major)
}

func candidates(major int) []string {
	var dirs []string
	if major != 0 {
		dirs = append(dirs, filepath.Join("/usr/lib/postgresql", strconv.Itoa(major), "bin"))
	}
	installed, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.SortFunc(installed, func(a, b string) int { return majorOf(b) - majorOf(a) })
	if path, err := exec.LookPath("postgres"); err == nil {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	dirs = append(dirs, installed...)
	cached, _ := filepath.Glob(filepath.Join(CacheDir(), "postgres", "*", "bin"))
	slices.SortFunc(cached, func(a, b string) int { return majorOf(b) - majorOf(a) })
	return append(dirs, cached...)
}

func majorOf(bin string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(bin)))
	return n
}

var versionText = regexp.MustCompile(`(\d+)(?:\.|devel|beta|rc)`)

func version(ctx context.Context, dir string) (int, error) {
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return 0, err
	}
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return 0, err
	}
	m := versionText.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("read version of %s: unexpected answer", dir)
	}
	return strconv.Atoi(string(m[1]))
}
