package lint

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// layers says on which layer each unit of the tree lies. A unit is a package with the packages below it, unless those
// are named here themselves. Imports point to a lower layer, or stay in the unit; a test may also import its own layer.
var layers = map[string]int{
	"internal/position": -1, // the words that everyone may use, this layer too
	"internal/vfs":      0, "internal/objstore": 0, "internal/progress": 0, "proto": 0, "migrations": 0,
	"internal/lint": 0, "internal/trace": 0, "internal/planted": 0,
	"internal/change": 1, "internal/segment": 1, "internal/postgres": 1,
	"internal/pgoutput": 2, "internal/journal": 2, "internal/apply": 2, "internal/archive": 2, "internal/event": 2, "internal/source": 2,
	"internal/capture": 3, "internal/snapshot": 3, "internal/sink": 3, "internal/restore": 3, "internal/rpo": 3, "internal/alert": 3,
	"internal/sink/standby": 4, "internal/sink/jetstream": 4, "internal/sink/archiver": 4,
	"internal/config": 5, "internal/control": 5,
	"internal/daemon": 6,
	"internal/demo":   7, // drives the whole service, as a user of it does
	"cmd":             8,
}

// unitOf returns the unit that a package belongs to, and its layer.
func unitOf(dir string) (unit string, layer int, known bool) {
	for unit = dir; unit != "."; unit = path.Dir(unit) {
		if layer, known = layers[unit]; known {
			return unit, layer, true
		}
	}
	return "", 0, false
}

func importRules() []rule {
	return []rule{
		{
			name: "layers", check: checkLayers,
			bad: []fixture{
				{path: "internal/sink/a.go", text: `import "tidemark/internal/sink/standby"`},
				{path: "internal/capture/a.go", text: `import "tidemark/internal/sink"`},
				{path: "internal/journal/a.go", text: `import _ "tidemark/internal/daemon"`},
				{path: "internal/sink/archiver/a.go", text: `import "tidemark/internal/sink/jetstream"`},
				{path: "internal/journal/a_test.go", text: `import "tidemark/internal/capture"`},
				{path: "internal/rpo/a_test.go", text: `import "tidemark/internal/sink/standby"`},
				{path: "internal/unheard/a.go", text: ``},
				{path: "internal/rpo/a.go", text: `import "tidemark/internal/unheard"`},
				{path: "integration/a_test.go", text: `import "tidemark/internal/journal"`},
				{path: "integration/checker/a.go", text: `import "tidemark/internal/trace"`},
				{path: "internal/daemon/a.go", text: `import "tidemark/integration/checker"`},
			},
			good: []fixture{
				{path: "internal/sink/standby/a.go", text: "import (\n\"context\"\n\"tidemark/internal/sink\"\n\"tidemark/internal/apply\"\n)"},
				{path: "internal/postgres/pgtest/a.go", text: `import "tidemark/internal/postgres/throwaway"`},
				{path: "internal/apply/a_test.go", text: `import "tidemark/internal/pgoutput"`},
				{path: "internal/change/a_test.go", text: `import "tidemark/internal/postgres/pgtest"`},
				{path: "cmd/tidemark/a.go", text: `import "tidemark/internal/daemon"`},
				{path: "integration/a_test.go", text: "import (\n\"tidemark/internal/position\"\n\"tidemark/internal/postgres/throwaway\"\n)"},
				{path: "integration/checker/a.go", text: `import "tidemark/integration/checker/world"`},
			},
		},
		{
			name: "generated-code", check: checkProtoImports,
			bad: []fixture{
				{path: "internal/journal/a.go", text: `import "tidemark/proto/tidemark/segment/v1"`},
				{path: "internal/daemon/a.go", text: `import "tidemark/proto/tidemark/control/v1/controlv1connect"`},
			},
			good: []fixture{
				{path: "internal/segment/a.go", text: `import "tidemark/proto/tidemark/segment/v1"`},
				{path: "internal/control/web/a.go", text: `import "tidemark/proto/tidemark/control/v1"`},
				{path: "cmd/tidemark/a.go", text: `import "tidemark/proto/tidemark/control/v1"`},
			},
		},
		{
			name: "test-packages", check: checkTestImports,
			bad: []fixture{
				{path: "internal/source/a.go", text: `import "tidemark/internal/postgres/pgtest"`},
				{path: "internal/sink/a.go", text: `import "tidemark/internal/sink/sinktest"`},
				{path: "internal/journal/a.go", text: `import "tidemark/internal/vfs/crashfs"`},
				{path: "internal/journal/a.go", text: `import "testing"`},
			},
			good: []fixture{
				{path: "internal/source/a_test.go", text: `import "tidemark/internal/postgres/pgtest"`},
				{path: "internal/sink/sinktest/a.go", text: "import (\n\"testing\"\n\"tidemark/internal/postgres/pgtest\"\n)"},
				{path: "cmd/tidemark/a.go", text: `import "tidemark/internal/postgres/throwaway"`},
			},
		},
	}
}

func checkLayers(t *tree) (out []finding) {
	for _, f := range t.files {
		blackBox := f.dir() == "integration" || strings.HasPrefix(f.dir(), "integration/")
		_, _, known := unitOf(f.dir())
		if !known && !blackBox {
			out = append(out, finding{f.path, 1, fmt.Sprintf("package %s has no layer: name it in internal/lint/imports_test.go", f.dir())})
			continue
		}
		for imported, line := range f.imports(t) {
			target, ours := strings.CutPrefix(imported, module)
			if !ours {
				continue
			}
			if reason := refuseImport(f, target, blackBox); reason != "" {
				out = append(out, finding{f.path, line, "imports " + target + ": " + reason})
			}
		}
	}
	return out
}

// refuseImport says why a file may not import one of our packages, or nothing.
func refuseImport(f file, target string, blackBox bool) string {
	to, toLayer, known := unitOf(target)
	if !known && !(blackBox && strings.HasPrefix(target, "integration/")) {
		return "it has no layer"
	}
	if blackBox {
		// The names of planted bugs are no stage.
		if slices.Contains([]string{"internal/position", "internal/postgres", "internal/planted"}, to) || strings.HasPrefix(target, "integration/") {
			return ""
		}
		return "integration starts the real binary and imports no stage"
	}
	from, fromLayer, _ := unitOf(f.dir())
	if from == to || toLayer < fromLayer || (f.test() && toLayer == fromLayer) {
		return ""
	}
	if (f.test() || forTests(f.dir())) && slices.Contains([]string{"internal/postgres/pgtest", "internal/sink/sinktest"}, target) {
		return ""
	}
	return fmt.Sprintf("layer %d may not import layer %d", fromLayer, toLayer)
}

func checkProtoImports(t *tree) (out []finding) {
	allowed := []string{"internal/event", "internal/segment", "internal/control", "cmd", "proto"}
	for _, f := range t.files {
		unit, _, _ := unitOf(f.dir())
		for imported, line := range f.imports(t) {
			if strings.HasPrefix(imported, module+"proto/") && !slices.Contains(allowed, unit) {
				out = append(out, finding{f.path, line, "imports generated code: only " + strings.Join(allowed, ", ") + " may"})
			}
		}
	}
	return out
}

func checkTestImports(t *tree) (out []finding) {
	for _, f := range t.production() {
		for imported, line := range f.imports(t) {
			if imported == "testing" || (strings.HasPrefix(imported, module) && forTests(strings.TrimPrefix(imported, module))) {
				out = append(out, finding{f.path, line, "imports " + imported + ", which is for tests"})
			}
		}
	}
	return out
}
