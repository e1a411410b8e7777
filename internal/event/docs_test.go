package event

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"tidemark/internal/change"
)

var update = flag.Bool("update", false, "write the examples of docs/nats.md anew")

const docs = "../../docs/nats.md"

var example = regexp.MustCompile("<!-- example: (\\w+) -->\n(?:```json\n[^`]*```\n)?")

// TestDocs says that the examples for subscribers are what the encoder writes.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile(docs)
	must(t, err)
	examples := docExamples(t)
	found := 0
	want := example.ReplaceAllStringFunc(string(page), func(s string) string {
		name := example.FindStringSubmatch(s)[1]
		found++
		return "<!-- example: " + name + " -->\n```json\n" + examples[name] + "\n```\n"
	})
	if found != len(examples) {
		t.Errorf("%d examples in the page and %d here", found, len(examples))
	}
	if *update {
		must(t, os.WriteFile(docs, []byte(want), 0o644))
	} else if want != string(page) {
		t.Error("docs/nats.md shows other documents than the encoder writes: go test ./internal/event -run TestDocs -update")
	}
}

func docExamples(t *testing.T) map[string]string {
	t.Helper()
	customers := &change.Relation{ID: 3, Schema: "public", Name: "customers", Identity: change.IdentityFull, Columns: []change.Column{
		{Name: "id", Key: true, Type: 23}, {Name: "name", Key: true, Type: 25}, {Name: "photo", Key: true, Type: 17},
	}}
	rows := []struct {
		name string
		row  change.Row
	}{
		{"insert", change.Row{Op: change.Insert, Relation: orders, New: values("1", "2", "9.90", `{"gift": true}`, "∅")}},
		{"update", change.Row{Ordinal: 1, Op: change.Update, Relation: orders, OldKey: true, Old: values("1", "∅", "∅", "∅", "∅"), New: values("1001", "3", "9.90", `{"gift": true}`, "…")}},
		{"delete", change.Row{Ordinal: 2, Op: change.Delete, Relation: orders, OldKey: true, Old: values("1001", "∅", "∅", "∅", "∅")}},
		{"full", change.Row{Ordinal: 3, Op: change.Update, Relation: customers, Old: values("7", "Ada", `\x00ff`), New: values("7", "Ada L.", "…")}},
		{"truncate", change.Row{Ordinal: 4, Op: change.Truncate, Truncated: []*change.Relation{orders, customers}}},
	}
	e := encoder(t)
	last := tx
	last.Rows = 6
	e.Begin(last)
	out := map[string]string{}
	for _, r := range rows {
		messages, err := e.Row(nil, r.row)
		must(t, err)
		out[r.name] = pretty(t, messages[0].Data)
	}
	messages, err := e.Commit(nil)
	must(t, err)
	out["commit"] = pretty(t, messages[0].Data)
	return out
}

// pretty breaks lines before the fields of the document, not within them.
func pretty(t *testing.T, data []byte) string {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	_, err := d.Token()
	must(t, err)
	var lines []string
	for d.More() {
		name, err := d.Token()
		must(t, err)
		var value json.RawMessage
		must(t, d.Decode(&value))
		lines = append(lines, `  "`+name.(string)+`": `+strings.ReplaceAll(string(value), `,"`, `, "`))
	}
	return "{\n" + strings.Join(lines, ",\n") + "\n}"
}
