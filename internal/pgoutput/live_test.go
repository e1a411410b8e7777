package pgoutput

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"tidemark/internal/change"
	"tidemark/internal/postgres"
	"tidemark/internal/postgres/pgtest"
	"tidemark/internal/segment"
)

// TestTour decodes what a server sends for a tour of types and identities, follows it into tables, and compares them
// with what the server itself says they hold.
func TestTour(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		url := pgtest.Database(t, major)
		messages := tour(t, url)
		if *update {
			record(t, major, messages)
		}
		m := model{decoder: NewDecoder(), tables: map[string]*table{}}
		m.follow(t, messages)
		if len(m.tables) < 15 {
			t.Errorf("only %d tables followed", len(m.tables))
		}
		for _, name := range slices.Sorted(maps.Keys(m.tables)) {
			m.tables[name].compare(t, url)
		}
		if got := m.tables["public.zoo"].relation.Columns[46].TypeName; got != "public.mood" {
			t.Errorf("type of zoo.e is %q", got)
		}
		if got := m.tables["public.zoo"].relation.Columns[47].TypeName; got != "pg_catalog.int4" {
			t.Errorf("type of zoo.y is %q", got)
		}
	})
}

// model is the tables as the stream tells them.
type model struct {
	decoder *Decoder
	tables  map[string]*table
	types   map[uint32][]byte
}

type table struct {
	relation *change.Relation
	rows     [][]change.Value
}

// follow does what capture does, with one part per transaction and definitions at once.
func (m *model) follow(t *testing.T, messages [][]byte) {
	t.Helper()
	m.types = map[uint32][]byte{}
	var f segment.Frame
	for _, msg := range messages {
		switch msg[0] {
		case KindBegin:
			f = segment.Frame{Kind: segment.Part}
		case KindType:
			oid, err := TypeHead(msg)
			must(t, err)
			m.types[oid] = msg
		case KindRelation:
			m.apply(t, &f) // under the old definition
			f = segment.Frame{Kind: segment.Part, Ordinal: f.Ordinal + f.Count}
			must(t, m.decoder.Define(definition(t, msg, m.types)))
		case KindTruncate:
			ids, err := TruncateRelations(msg, nil)
			must(t, err)
			f.Count += uint32(len(ids))
			f.Payload = segment.AppendMessage(f.Payload, msg)
		case KindOrigin:
			f.Payload = segment.AppendMessage(f.Payload, msg)
		case KindCommit:
			m.apply(t, &f)
		default:
			_, err := RowRelation(msg)
			must(t, err)
			f.Count++
			f.Payload = segment.AppendMessage(f.Payload, msg)
		}
	}
}

func definition(t testing.TB, msg []byte, types map[uint32][]byte) []byte {
	t.Helper()
	oids, err := RelationTypes(msg, nil)
	must(t, err)
	var payload []byte
	for _, oid := range oids {
		if y, ok := types[oid]; ok {
			payload = segment.AppendMessage(payload, y)
		}
	}
	return segment.AppendMessage(payload, msg)
}

func (m *model) apply(t *testing.T, f *segment.Frame) {
	t.Helper()
	next := f.Ordinal
	for row, err := range m.decoder.Rows(f) {
		must(t, err)
		if row.Ordinal != next {
			t.Fatalf("ordinal %d, want %d", row.Ordinal, next)
		}
		next += uint32(max(1, len(row.Truncated)))
		row = row.Clone()
		for _, rel := range row.Truncated {
			m.table(rel).rows = nil
		}
		if row.Op != change.Truncate {
			m.table(row.Relation).change(t, row)
		}
	}
}

func (m *model) table(rel *change.Relation) *table {
	tab, ok := m.tables[rel.String()]
	if !ok {
		tab = &table{}
		m.tables[rel.String()] = tab
	}
	if tab.relation != rel && tab.relation != nil {
		tab.reshape(rel)
	}
	tab.relation = rel
	return tab
}

// reshape carries rows over to a new definition; new columns get the default that the tour gives.
func (tab *table) reshape(rel *change.Relation) {
	for i, old := range tab.rows {
		row := make([]change.Value, len(rel.Columns))
		for j, c := range rel.Columns {
			k := slices.IndexFunc(tab.relation.Columns, func(o change.Column) bool { return o.Name == c.Name })
			if k < 0 {
				row[j] = change.Value{Kind: change.Text, Data: []byte("sad")}
				continue
			}
			row[j] = old[k]
		}
		tab.rows[i] = row
	}
}

func (tab *table) change(t *testing.T, row change.Row) {
	t.Helper()
	if row.Op == change.Insert {
		tab.rows = append(tab.rows, row.New)
		return
	}
	i := slices.IndexFunc(tab.rows, func(have []change.Value) bool { return tab.identified(have, row.Identify()) })
	if i < 0 {
		t.Fatalf("%s: no row to %s", tab.relation, row.Op)
	}
	if row.Op == change.Delete {
		tab.rows = slices.Delete(tab.rows, i, i+1)
		return
	}
	for j, v := range row.New {
		if v.Kind == change.Unchanged {
			row.New[j] = tab.rows[i][j]
		}
	}
	tab.rows[i] = row.New
}

func (tab *table) identified(have, want []change.Value) bool {
	for i, c := range tab.relation.Columns {
		if c.Key && (have[i].Kind != want[i].Kind || !bytes.Equal(have[i].Data, want[i].Data)) {
			return false
		}
	}
	return true
}

func (tab *table) compare(t *testing.T, url string) {
	t.Helper()
	conn, err := postgres.Connect(t.Context(), url, "tour")
	must(t, err)
	defer conn.Close(t.Context())
	columns := make([]string, len(tab.relation.Columns))
	for i, c := range tab.relation.Columns {
		columns[i] = postgres.Ident(c.Name)
	}
	query := fmt.Sprintf("select %s from %s", strings.Join(columns, ", "), postgres.Ident(tab.relation.Schema, tab.relation.Name))
	results, err := conn.PgConn().Exec(t.Context(), query).ReadAll() // the simple protocol: values by their output functions
	must(t, err)
	var want, got []string
	for _, row := range results[0].Rows {
		want = append(want, fmt.Sprintf("%q", describe(row)))
	}
	for _, row := range tab.rows {
		values := make([][]byte, len(row))
		for i, v := range row {
			switch v.Kind {
			case change.Text:
				values[i] = v.Data
			case change.Null:
			default:
				t.Errorf("%s: value of kind %c", tab.relation, v.Kind)
			}
		}
		got = append(got, fmt.Sprintf("%q", describe(values)))
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%s: the stream tells\n%s\nand the server says\n%s", tab.relation, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func describe(row [][]byte) []string {
	out := make([]string, len(row))
	for i, v := range row {
		out[i] = "NULL"
		if v != nil {
			out[i] = "=" + string(v)
		}
	}
	return out
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
