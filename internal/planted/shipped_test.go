package planted_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// names reads the names of the mistakes, which this package lists only with the build tag.
func names(t *testing.T) []string {
	t.Helper()
	source, err := os.ReadFile("planted.go")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range regexp.MustCompile(`\w+ Bug = "([a-z-]+)"\n`).FindAllSubmatch(source, -1) {
		out = append(out, string(m[1]))
	}
	if len(out) < 15 {
		t.Fatalf("found %q", out)
	}
	return out
}

// build builds the program as it ships, but for the tag and the names of its functions.
func build(t *testing.T, tags string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tidemark")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-tags", tags, "-o", path, "tidemark/cmd/tidemark")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build with tags %q: %v: %s", tags, err, out)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// wrong finds the functions that serve mistakes, such as tidemark/internal/apply.wrongToast.
var wrong = regexp.MustCompile(`tidemark/internal/[a-z/]+\.(\(\*?\w+\)\.)?wrong[A-Z]\w*`)

func TestShippedProgramHasNone(t *testing.T) {
	program := build(t, "")
	for _, name := range names(t) {
		if bytes.Contains(program, []byte(name)) {
			t.Errorf("%s is in the program that ships", name)
		}
	}
	if found := wrong.FindAll(program, 3); found != nil {
		t.Errorf("the program that ships has %q", found)
	}
	if bytes.Contains(program, []byte("TIDEMARK_PLANTED")) {
		t.Error("the program that ships looks for the variable")
	}
}

// TestTaggedProgramHasAll shows that the test above can fail.
func TestTaggedProgramHasAll(t *testing.T) {
	program := build(t, "planted")
	for _, name := range names(t) {
		if !bytes.Contains(program, []byte(name)) {
			t.Errorf("%s is not in the program built with the tag", name)
		}
	}
	if found := wrong.FindAll(program, -1); len(found) < 10 {
		t.Errorf("the program built with the tag has only %q", found)
	}
}
