package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"tidemark/internal/postgres/throwaway"
)

// Section is a part of a schema dump, by pg_dump's own words.
type Section string

// The two halves of a schema: before the rows, and what is made faster or only allowed once they are there (indexes,
// constraints, triggers).
const (
	PreData  Section = "pre-data"
	PostData Section = "post-data"
)

// DumpOptions say what to dump.
type DumpOptions struct {
	Section Section
	// Snapshot is an exported snapshot to read the catalogs with; empty for none. Its exporter stays open meanwhile.
	Snapshot string
	// ServerMajor is the server's major version.
	ServerMajor int
}

// ErrNoDump says that no pg_dump that can read the server is on this machine.
var ErrNoDump = errors.New("no suitable pg_dump found")

// lockTimeout is how long pg_dump waits for a table that somebody is changing.
const lockTimeout = 30 * time.Second

// DumpSchema returns one section of the database's schema as SQL: every schema but Tidemark's own and the system's,
// without owners, privileges, security labels, tablespaces, publications and subscriptions, because roles and places need not exist
// where it is restored: what is restored belongs to who restores it. Event triggers that call Tidemark's own schema
// are left out too. The password reaches pg_dump through its environment only.
func DumpSchema(ctx context.Context, url string, opts DumpOptions) ([]byte, error) {
	program, err := FindDump(ctx, opts.ServerMajor)
	if err != nil {
		return nil, err
	}
	env, err := libpqEnv(url)
	if err != nil {
		return nil, err
	}
	args := []string{
		"--section=" + string(opts.Section), "--no-owner", "--no-privileges", "--no-security-labels", "--no-tablespaces",
		"--no-publications", "--no-subscriptions", "--no-blobs", "--exclude-schema=tidemark", "--encoding=UTF8", "--no-password",
		"--lock-wait-timeout=" + strconv.FormatInt(lockTimeout.Milliseconds(), 10),
	}
	if opts.Snapshot != "" {
		args = append(args, "--snapshot="+opts.Snapshot)
	}
	cmd := exec.CommandContext(ctx, program, args...)
	var out, errs bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr, cmd.Dir = env, &out, &errs, "/"
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("dump schema: %w", ctx.Err())
		}
		return nil, fmt.Errorf("dump schema with %s: %w: %s", program, err, complaint(errs.Bytes()))
	}
	return withoutOwn(out.Bytes()), nil
}

// complaint is pg_dump's first error line, in which only names and its own SQL occur.
func complaint(b []byte) string {
	for line := range strings.SplitSeq(string(b), "\n") {
		if line = strings.TrimSpace(line); strings.Contains(line, "error:") {
			return line
		}
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	return first
}

// FindDump returns the path of a pg_dump of the server's major version, or of the lowest one above it: pg_dump reads
// older servers, never newer ones. It looks on PATH, in Debian's directories and in the cache of `make setup`.
func FindDump(ctx context.Context, serverMajor int) (string, error) {
	var best string
	bestMajor := 0
	var found []string
	for _, program := range dumpCandidates() {
		major, err := dumpMajor(ctx, program)
		if err != nil {
			continue
		}
		found = append(found, fmt.Sprintf("%d (%s)", major, program))
		if major >= serverMajor && (best == "" || major < bestMajor) {
			best, bestMajor = program, major
		}
	}
	if best != "" {
		return best, nil
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	have := "none"
	if len(found) > 0 {
		have = strings.Join(found, ", ")
	}
	return "", fmt.Errorf("%w for a server of version %d: found %s; install client programs of version %d or newer (Debian: apt-get install postgresql-client-%d)",
		ErrNoDump, serverMajor, have, serverMajor, serverMajor)
}

func dumpCandidates() []string {
	var list []string
	if path, err := exec.LookPath("pg_dump"); err == nil {
		if path, err = filepath.Abs(path); err == nil {
			list = append(list, path)
		}
	}
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin/pg_dump", filepath.Join(throwaway.CacheDir(), "postgres", "*", "bin", "pg_dump")} {
		more, _ := filepath.Glob(pattern) // the pattern is well formed
		list = append(list, more...)
	}
	return slices.Compact(list)
}

var dumpVersion = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

func dumpMajor(ctx context.Context, program string) (int, error) {
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return 0, fmt.Errorf("ask %s for its version: %w", program, err)
	}
	m := dumpVersion.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("ask %s for its version: unexpected answer", program)
	}
	return strconv.Atoi(string(m[1]))
}

// withoutOwn blanks out the event triggers that call functions of Tidemark's schema, which is not in the dump.
func withoutOwn(dump []byte) []byte {
	triggers := map[string]bool{}
	out := slices.Clone(dump)
	for _, s := range split(dump) {
		words := s.words(8)
		if !hasPrefix(words, "CREATE", "EVENT", "TRIGGER") && !hasPrefix(words, "ALTER", "EVENT", "TRIGGER") && !hasPrefix(words, "COMMENT", "ON", "EVENT", "TRIGGER") {
			continue
		}
		name := words[3]
		if words[0] == "COMMENT" {
			name = words[4]
		}
		if words[0] == "CREATE" && ownFunction.Match(s.text) {
			triggers[name] = true
		}
		if triggers[name] {
			blank(out[s.start : s.start+len(s.text)])
		}
	}
	return out
}

var ownFunction = regexp.MustCompile(`EXECUTE (FUNCTION|PROCEDURE) "?tidemark"?\.[^.]*;?\s*$`)

func blank(b []byte) {
	for i, c := range b {
		if c != '\n' {
			b[i] = ' '
		}
	}
}
