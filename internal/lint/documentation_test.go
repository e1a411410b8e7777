package lint

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
)

func documentationRules() []rule {
	return []rule{
		{
			name: "package-comment", check: checkPackageComments,
			bad: []fixture{
				{path: "internal/vfs/a.go", text: "package vfs"},
				{path: "internal/vfs/a.go", text: "// Something else.\npackage vfs"},
				{path: "cmd/tidemark/main.go", text: "package main"},
			},
			good: []fixture{
				{path: "internal/vfs/a.go", text: "// Package vfs is here.\npackage vfs"},
				{path: "cmd/tidemark/main.go", text: "// Command tidemark runs.\npackage main"},
			},
		},
		{
			name: "exported-names", check: checkExported,
			bad: []fixture{
				{path: "internal/vfs/a.go", text: "func Open() {}"},
				{path: "internal/vfs/a.go", text: "// T is.\ntype T int\n\nfunc (*T) Do() {}"},
				{path: "internal/vfs/a.go", text: "type T int"},
				{path: "internal/vfs/a.go", text: "const Max = 1"},
				{path: "internal/vfs/a.go", text: "var (\n// A is.\nA = 1\n\nB = 2\n)"},
				{path: "internal/vfs/a.go", text: "// T is.\ntype T interface {\n\tDo()\n\tClose()\n}"},
				{path: "internal/vfs/a.go", text: "// T is.\ntype T[V any] struct{}\n\nfunc (t *T[V]) Do() {}"},
			},
			good: []fixture{
				{path: "internal/vfs/a.go", text: "// Sizes of a file.\nconst (\n\tMin = 1\n\tMax = 2\n)"},
				{path: "internal/vfs/a.go", text: "var (\n\tA = 1 // A is.\n)"},
				{path: "internal/vfs/a.go", text: "type t int\n\nfunc (t) Do() {}\n\nfunc open() {}"},
				{path: "internal/vfs/a.go", text: "// T is.\ntype T int\n\nfunc (T) String() string { return \"\" }"},
				{path: "internal/vfs/a.go", text: "// T does.\ntype T interface {\n\tDo()\n}"},
				{path: "internal/vfs/a_test.go", text: "func TestOpen() {}"},
				{path: "cmd/tidemark/main.go", text: "package main\n\nfunc Run() {}"},
			},
		},
	}
}

func checkPackageComments(t *tree) (out []finding) {
	first := map[string]file{}
	documented := map[string]bool{}
	for _, f := range t.files {
		if strings.HasSuffix(f.name(), "_test") {
			continue
		}
		if _, seen := first[f.dir()]; !seen {
			first[f.dir()] = f
		}
		if opensWell(f) {
			documented[f.dir()] = true
		}
	}
	for dir, f := range first {
		if !documented[dir] {
			out = append(out, finding{f.path, 1, fmt.Sprintf("package %s has no comment that opens with %q", f.name(), opening(f))})
		}
	}
	return out
}

func opening(f file) string {
	if f.name() == "main" {
		return "Command "
	}
	return "Package " + f.name() + " "
}

func opensWell(f file) bool { return strings.HasPrefix(f.syntax.Doc.Text(), opening(f)) }

func checkExported(t *tree) (out []finding) {
	for _, f := range t.files {
		if f.test() || f.name() == "main" {
			continue
		}
		for _, d := range f.syntax.Decls {
			for _, n := range undocumented(d) {
				out = append(out, finding{f.path, t.line(n), "exported " + n.Name + " is not documented"})
			}
		}
	}
	return out
}

func undocumented(d ast.Decl) []*ast.Ident {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Name.IsExported() && exportedReceiver(d) && !wellKnown(d) {
			return []*ast.Ident{d.Name}
		}
	case *ast.GenDecl:
		return undocumentedSpecs(d)
	}
	return nil
}

// wellKnown tells the methods whose meaning everyone knows.
func wellKnown(d *ast.FuncDecl) bool {
	return d.Recv != nil && slices.Contains([]string{"String", "Error", "Unwrap", "Is", "As", "MarshalText", "UnmarshalText", "MarshalJSON", "UnmarshalJSON", "LogValue"}, d.Name.Name)
}

func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	return ast.IsExported(receiverName(d.Recv.List[0].Type))
}

// receiverName is the name of a receiver's type, without pointer and type parameters.
func receiverName(n ast.Node) string {
	switch n := n.(type) {
	case *ast.IndexExpr:
		return receiverName(n.X)
	case *ast.IndexListExpr:
		return receiverName(n.X)
	case *ast.StarExpr:
		return receiverName(n.X)
	case *ast.Ident:
		return n.Name
	}
	return ""
}

func undocumentedSpecs(d *ast.GenDecl) (out []*ast.Ident) {
	for _, s := range d.Specs {
		switch s := s.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() {
				if d.Doc == nil && s.Doc == nil {
					out = append(out, s.Name)
				}
				out = append(out, undocumentedMethods(s)...)
			}
		case *ast.ValueSpec:
			if d.Doc != nil || s.Doc != nil || s.Comment != nil {
				continue
			}
			for _, n := range s.Names {
				if n.IsExported() {
					out = append(out, n)
				}
			}
		}
	}
	return out
}

// undocumentedMethods: what a method of an interface must do stands at the method, or at the interface if that has no
// other.
func undocumentedMethods(s *ast.TypeSpec) (out []*ast.Ident) {
	i, ok := s.Type.(*ast.InterfaceType)
	if !ok || i.Methods.NumFields() == 1 {
		return nil
	}
	for _, m := range i.Methods.List {
		if len(m.Names) == 1 && m.Names[0].IsExported() && m.Names[0].Name != "Close" && m.Doc == nil && m.Comment == nil {
			out = append(out, m.Names[0])
		}
	}
	return out
}
