package lint

import (
	"fmt"
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func wordingRules() []rule {
	return []rule{
		{
			name: "package-names", check: checkPackageNames,
			bad: []fixture{
				{path: "internal/util/a.go", text: "package util"},
				{path: "internal/sink/common/a.go", text: "package common"},
				{path: "internal/sink/a.go", text: "package types"},
				{path: "internal/sinkutils/a.go", text: "package sinkutils"},
			},
			good: []fixture{{path: "internal/sink/standby/a.go", text: "package standby"}},
		},
		{
			name: "error-text", check: checkErrorTexts,
			bad: []fixture{
				{path: "internal/vfs/a.go", text: `var e = errors.New("failed to open")`},
				{path: "internal/vfs/a.go", text: `var e = errors.New("Open file")`},
				{path: "internal/vfs/a.go", text: `var e = fmt.Errorf("error opening %s: %w", a, b)`},
				{path: "internal/vfs/a.go", text: "var e = fmt.Errorf(`Could not open`)"},
				{path: "internal/vfs/a.go", text: `var e = fmt.Errorf("open %s: "+"failed", a)` + "\n" + `var f = fmt.Errorf("unable to " + "open")`},
			},
			good: []fixture{
				{path: "internal/vfs/a.go", text: `var e = errors.New("open file")`},
				{path: "internal/vfs/a.go", text: `var e = fmt.Errorf("%w: not here", a)`},
				{path: "internal/vfs/a.go", text: `var e = errors.New("PostgreSQL 13 is too old")`},
				{path: "internal/vfs/a.go", text: `var e = errors.New("TRUNCATE of a partition")`},
				{path: "internal/vfs/a.go", text: `var e = errors.New("errored twice")`},
			},
		},
		{
			name: "root-entries", check: checkRoot,
			bad:  []fixture{{root: "scripts"}, {root: "main.go"}},
			good: []fixture{{root: "internal"}, {root: ".ci"}, {root: "README.md"}, {root: "docker-compose.yml"}, {root: "bin"}},
		},
	}
}

var emptyName = regexp.MustCompile(`^(common|types|models?)$|(util|utils|helpers?|manager)$`)

func checkPackageNames(t *tree) (out []finding) {
	seen := map[string]bool{}
	for _, f := range t.files {
		for _, name := range append(strings.Split(f.dir(), "/"), strings.TrimSuffix(f.name(), "_test")) {
			if key := f.dir() + " " + name; emptyName.MatchString(name) && !seen[key] {
				seen[key] = true
				out = append(out, finding{f.path, 1, fmt.Sprintf("package name %s says nothing of what is in it", name)})
			}
		}
	}
	return out
}

// badOpening: an error's text is read behind another one, so it opens with a verb and in lower case; a name or an
// acronym may keep its capitals.
var badOpening = regexp.MustCompile(`^(?i:failed|failure|error|unable to|could not)\b|^[A-Z][a-z]*\b`)

func checkErrorTexts(t *tree) (out []finding) {
	for _, f := range t.files {
		if f.test() {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if ok && len(call.Args) > 0 && makesError(call) {
				if text := leadingText(call.Args[0]); badOpening.MatchString(text) {
					out = append(out, finding{f.path, t.line(call), fmt.Sprintf("error text %q: open with what was attempted, in lower case", text)})
				}
			}
			return true
		})
	}
	return out
}

func makesError(call *ast.CallExpr) bool {
	s, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	pkg, ok := s.X.(*ast.Ident)
	return ok && (pkg.Name == "errors" && s.Sel.Name == "New" || pkg.Name == "fmt" && s.Sel.Name == "Errorf")
}

// leadingText returns the text of a literal, or of the first in a concatenation.
func leadingText(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BinaryExpr:
		return leadingText(e.X)
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			text, _ := strconv.Unquote(e.Value)
			return text
		}
	}
	return ""
}

func checkRoot(t *tree) (out []finding) {
	allowed := strings.Fields("cmd internal proto migrations deploy integration go.mod go.sum Makefile docker-compose.yml " +
		"README.md LICENSE CHANGELOG.md docs " +
		"bin tidemark-data") // the last two are made by building and running, and ignored by git
	for _, name := range t.root {
		if !strings.HasPrefix(name, ".") && !slices.Contains(allowed, name) {
			out = append(out, finding{name, 1, "does not belong at the root"})
		}
	}
	return out
}
