package lint

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "tidemark/"

// file is one parsed Go file; its path is relative to the root and has slashes.
type file struct {
	path   string
	lines  int
	syntax *ast.File
}

func (f file) dir() string  { return path.Dir(f.path) }
func (f file) test() bool   { return strings.HasSuffix(f.path, "_test.go") }
func (f file) name() string { return f.syntax.Name.Name }

// imports returns the import paths with the line of each.
func (f file) imports(t *tree) map[string]int {
	out := map[string]int{}
	for _, spec := range f.syntax.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			out[p] = t.line(spec)
		}
	}
	return out
}

// tree is everything that the rules look at.
type tree struct {
	fset  *token.FileSet
	files []file
	root  []string // names of the entries of the root
}

func (t *tree) line(n ast.Node) int { return t.fset.Position(n.Pos()).Line }

// length counts the lines of a declaration.
func (t *tree) length(n ast.Node) int {
	return t.fset.Position(n.End()).Line - t.fset.Position(n.Pos()).Line + 1
}

func (t *tree) add(name string, src []byte) error {
	syntax, err := parser.ParseFile(t.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return fmt.Errorf("parse %s: %w", name, err)
	}
	if !ast.IsGenerated(syntax) {
		t.files = append(t.files, file{path: name, lines: bytes.Count(src, []byte("\n")), syntax: syntax})
	}
	return nil
}

// production returns the files that are neither tests nor part of a package that only tests use.
func (t *tree) production() []file {
	return slices.DeleteFunc(slices.Clone(t.files), func(f file) bool { return f.test() || forTests(f.dir()) })
}

// forTests tells a package that only tests may import.
func forTests(dir string) bool {
	base := path.Base(dir)
	return base == "crashfs" || base == "integration" || strings.HasPrefix(dir, "integration/") || (strings.HasSuffix(base, "test") && base != "test")
}

// finding is one breach of a rule.
type finding struct {
	path string
	line int
	text string
}

func (f finding) String() string { return fmt.Sprintf("%s:%d: %s", f.path, f.line, f.text) }

func repository(t *testing.T) *tree {
	t.Helper()
	root := "../.."
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	found := &tree{fset: token.NewFileSet()}
	for _, e := range entries {
		found.root = append(found.root, e.Name())
	}
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		src, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		return found.add(filepath.ToSlash(rel), src)
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestTreeIsComplete makes sure that the rules look at something.
func TestTreeIsComplete(t *testing.T) {
	found := repository(t)
	for _, want := range []string{"internal/position/position.go", "internal/lint/tree_test.go"} {
		if !slices.ContainsFunc(found.files, func(f file) bool { return f.path == want }) {
			t.Errorf("%s is not among the %d files found", want, len(found.files))
		}
	}
}
