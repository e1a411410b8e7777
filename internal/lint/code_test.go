package lint

import "go/ast"

func codeRules() []rule {
	return []rule{
		{
			name: "no-init", check: checkInit,
			bad:  []fixture{{path: "internal/vfs/a.go", text: "func init() {}"}, {path: "internal/vfs/a_test.go", text: "func init() {}"}},
			good: []fixture{{path: "internal/vfs/a.go", text: "type t int\n\nfunc (t) init() {}"}},
		},
		{
			name: "no-panic", check: checkPanic,
			bad:  []fixture{{path: "internal/vfs/a.go", text: "func f() { panic(1) }"}, {path: "internal/vfs/a.go", text: "var f = func() { defer panic(1) }"}},
			good: []fixture{{path: "internal/vfs/a_test.go", text: "func f() { panic(1) }"}, {path: "internal/vfs/a.go", text: "func f() { x.panic(recover()) }"}},
		},
	}
}

func checkInit(t *tree) (out []finding) {
	for _, f := range t.files {
		for _, d := range f.syntax.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				out = append(out, finding{f.path, t.line(fn), "init runs unasked: wire it where it is used"})
			}
		}
	}
	return out
}

func checkPanic(t *tree) (out []finding) {
	for _, f := range t.files {
		if f.test() {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if name, ok := call.Fun.(*ast.Ident); ok && name.Name == "panic" {
				out = append(out, finding{f.path, t.line(call), "panic: return an error"})
			}
			return true
		})
	}
	return out
}
