package lint

import (
	"go/token"
	"slices"
	"strings"
	"testing"
)

// rule judges a tree. Each has fixtures: bad ones that it must refuse, and good ones, close to the bad, that it must not.
type rule struct {
	name  string
	check func(*tree) []finding
	bad   []fixture
	good  []fixture
}

// fixture is a small tree: a file's path and its text. Text that does not say a package gets `package x`.
type fixture struct {
	path string
	text string
	root string // an entry of the root instead of a file
}

func (f fixture) tree(t *testing.T) *tree {
	t.Helper()
	out := &tree{fset: token.NewFileSet()}
	if f.root != "" {
		out.root = []string{f.root}
		return out
	}
	text := f.text
	if !strings.Contains(text, "package ") {
		text = "package x\n" + text
	}
	if err := out.add(f.path, []byte(text+"\n")); err != nil {
		t.Fatal(err)
	}
	return out
}

func rules() []rule {
	return slices.Concat(importRules(), sizeRules(), documentationRules(), wordingRules(), codeRules())
}

func TestRepository(t *testing.T) {
	found := repository(t)
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			for _, f := range r.check(found) {
				t.Error(f)
			}
		})
	}
}

func TestRules(t *testing.T) {
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			if len(r.bad) == 0 || len(r.good) == 0 {
				t.Fatal("no fixture shows that the rule can refuse and accept")
			}
			for _, f := range r.bad {
				if got := r.check(f.tree(t)); len(got) == 0 {
					t.Errorf("accepted %s%s:\n%s", f.path, f.root, f.text)
				}
			}
			for _, f := range r.good {
				if got := r.check(f.tree(t)); len(got) != 0 {
					t.Errorf("refused %s%s: %v\n%s", f.path, f.root, got, f.text)
				}
			}
		})
	}
}
