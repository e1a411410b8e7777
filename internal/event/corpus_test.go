package event

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"tidemark/internal/change"
	"tidemark/internal/pgoutput"
	"tidemark/internal/position"
	"tidemark/internal/segment"
)

// recorded gives the rows of every transaction that pgoutput's tests recorded from a server.
func recorded(t *testing.T, name string) [][]change.Row {
	t.Helper()
	b, err := os.ReadFile(name)
	must(t, err)
	d := pgoutput.NewDecoder()
	types := map[uint32][]byte{}
	var out [][]change.Row
	var rows []change.Row
	for msg, err := range segment.Messages(b) {
		must(t, err)
		switch msg[0] {
		case pgoutput.KindBegin, pgoutput.KindOrigin:
		case pgoutput.KindCommit:
			out = append(out, rows)
			rows = nil
		case pgoutput.KindType:
			oid, err := pgoutput.TypeHead(msg)
			must(t, err)
			types[oid] = msg
		case pgoutput.KindRelation:
			must(t, d.Define(definition(t, msg, types)))
		default:
			f := segment.Frame{Kind: segment.Part, Ordinal: ordinals(rows), Count: 1, Payload: segment.AppendMessage(nil, msg)}
			if ids, err := pgoutput.TruncateRelations(msg, nil); err == nil {
				f.Count = uint32(len(ids))
			}
			for row, err := range d.Rows(&f) {
				must(t, err)
				rows = append(rows, row.Clone())
			}
		}
	}
	return out
}

func ordinals(rows []change.Row) (n uint32) {
	for _, row := range rows {
		n += uint32(max(1, len(row.Truncated)))
	}
	return n
}

func definition(t *testing.T, msg []byte, types map[uint32][]byte) (payload []byte) {
	t.Helper()
	oids, err := pgoutput.RelationTypes(msg, nil)
	must(t, err)
	for _, oid := range oids {
		if y, ok := types[oid]; ok {
			payload = segment.AppendMessage(payload, y)
		}
	}
	return segment.AppendMessage(payload, msg)
}

// TestCorpus encodes everything that servers sent and reads the source's own text back from the documents.
func TestCorpus(t *testing.T) {
	files, err := filepath.Glob("../pgoutput/testdata/corpus/*.bin")
	if err != nil || len(files) == 0 {
		t.Fatalf("find corpus: %v", err)
	}
	for _, name := range files {
		ids := map[string]bool{}
		for i, rows := range recorded(t, name) {
			e := encoder(t)
			this := tx
			this.End += position.LSN(8 * i)
			this.Rows = ordinals(rows)
			e.Begin(this)
			for _, row := range rows {
				got, err := e.Row(nil, row)
				must(t, err)
				if len(got) != max(1, len(row.Truncated)) {
					t.Fatalf("%s of %s gives %d messages", row.Op, row.Relation, len(got))
				}
				for _, m := range got {
					if ids[m.Header.ID] {
						t.Fatalf("id %s comes twice", m.Header.ID)
					}
					ids[m.Header.ID] = true
				}
				if row.Op != change.Truncate {
					checkDocument(t, row, got[0])
				}
			}
			if _, err := e.Commit(nil); err != nil {
				t.Fatal(err)
			}
		}
		if len(ids) < 50 {
			t.Errorf("%s: only %d messages", name, len(ids))
		}
	}
}

func checkDocument(t *testing.T, row change.Row, m Message) {
	t.Helper()
	doc, err := Parse(m.Data)
	must(t, err)
	database, schema, table, op, err := ParseSubject("cdc", m.Subject)
	must(t, err)
	if database != doc.Database || schema != row.Relation.Schema || table != row.Relation.Name || op != row.Op.String() ||
		doc.Schema != schema || doc.Table != table || doc.Op != op {
		t.Errorf("subject %s, document %+v", m.Subject, doc)
	}
	if (doc.Before == nil) != (row.Old == nil) || (doc.After == nil) != (row.New == nil) {
		t.Errorf("%s of %s: before %v, after %v", row.Op, row.Relation, doc.Before, doc.After)
	}
	var unchanged []string
	for i, c := range row.Relation.Columns {
		if row.Old != nil && (c.Key || !row.OldKey) {
			checkValue(t, row, c, row.Old[i], doc.Before)
			delete(doc.Before, c.Name)
		}
		if row.New == nil {
			continue
		}
		v := row.New[i]
		if v.Kind == change.Unchanged && row.Old != nil && (c.Key || !row.OldKey) {
			v = row.Old[i]
		}
		if v.Kind == change.Unchanged {
			unchanged = append(unchanged, c.Name)
			continue
		}
		checkValue(t, row, c, v, doc.After)
		if c.Key && row.Relation.Identity != change.IdentityFull {
			checkValue(t, row, c, v, doc.Key)
		}
		delete(doc.After, c.Name)
	}
	if len(doc.Before) != 0 || len(doc.After) != 0 || fmt.Sprint(unchanged) != fmt.Sprint(doc.Unchanged) {
		t.Errorf("%s of %s: left over before %s, after %s; unchanged %q, want %q", row.Op, row.Relation, doc.Before, doc.After, doc.Unchanged, unchanged)
	}
}

func checkValue(t *testing.T, row change.Row, c change.Column, v change.Value, in map[string]json.RawMessage) {
	t.Helper()
	raw, ok := in[c.Name]
	if !ok {
		t.Errorf("%s of %s: no column %q", row.Op, row.Relation, c.Name)
		return
	}
	if v.Kind == change.Null {
		if string(raw) != "null" {
			t.Errorf("%s of %s: NULL of %q is %s", row.Op, row.Relation, c.Name, raw)
		}
		return
	}
	oid := c.Type
	if c.TypeName == "pg_catalog.int4" {
		oid = 23
	}
	if got, ok := original(t, oid, raw); !ok || got != string(trimJSON(oid, v.Data)) {
		t.Errorf("%s of %s: column %q holds %q and is written %s", row.Op, row.Relation, c.Name, v.Data, raw)
	}
}

// trimJSON removes the blanks around a json value: the reader of the document has removed them from its raw value.
func trimJSON(oid uint32, b []byte) []byte {
	var raw json.RawMessage
	if oid == 114 && json.Unmarshal(b, &raw) == nil {
		return raw
	}
	return b
}
