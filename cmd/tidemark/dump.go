package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidemark/internal/change"
	"tidemark/internal/pgoutput"
	"tidemark/internal/position"
	"tidemark/internal/segment"
)

func (a *app) journalDumpCommand(dir *string) *cobra.Command {
	var from, to, table, format string
	cmd := &cobra.Command{
		Use:   "dump",
		Short: "Print decoded transactions",
		Long:  "Prints row values: mind who reads the output. --from and --to are LSNs; a transaction is printed when it ends behind --from and not behind --to.",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, after, err := newDumper(a.out, from, to, table, format)
			if err != nil {
				return err
			}
			view, err := a.openJournal(*dir)
			if err != nil {
				return err
			}
			return eachTransaction(cmd.Context(), view, after, d)
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "LSN behind which to begin")
	cmd.Flags().StringVar(&to, "to", "", "LSN up to which to print")
	cmd.Flags().StringVar(&table, "table", "", "print changes of this table only, as schema.table")
	cmd.Flags().StringVar(&format, "format", "text", "text or json (one object a line)")
	return cmd
}

// dumper prints changes.
type dumper struct {
	out     io.Writer
	to      position.LSN
	table   string
	json    bool
	decoder *pgoutput.Decoder
}

func newDumper(out io.Writer, from, to, table, format string) (*dumper, position.LSN, error) {
	d := &dumper{out: out, table: table, json: format == "json", decoder: pgoutput.NewDecoder()}
	if format != "text" && format != "json" {
		return nil, 0, fmt.Errorf("%w: --format is %q: want text or json", errUsage, format)
	}
	var after position.LSN
	for _, flag := range []struct {
		name, text string
		into       *position.LSN
	}{{"--from", from, &after}, {"--to", to, &d.to}} {
		if flag.text == "" {
			continue
		}
		lsn, err := position.ParseLSN(flag.text)
		if err != nil {
			return nil, 0, fmt.Errorf("%w: %s: %w", errUsage, flag.name, err)
		}
		*flag.into = lsn
	}
	return d, after, nil
}

// frame prints a frame; false when the end was reached.
func (d *dumper) frame(f *segment.Frame) (bool, error) {
	if f.Kind == segment.Definition {
		return true, d.decoder.Define(f.Payload)
	}
	if f.Kind != segment.Part {
		return true, nil
	}
	if d.to != 0 && f.End > d.to {
		return false, nil
	}
	if f.First && !d.json {
		fmt.Fprintf(d.out, "transaction %s  xid %d  committed %s  %d changes\n", f.End, f.Xid, f.Time, f.Total)
	}
	for row, err := range d.decoder.Rows(f) {
		if err != nil {
			return false, err
		}
		if err := d.row(f, row); err != nil {
			return false, err
		}
	}
	return true, nil
}

// dumped is a line of --format json.
type dumped struct {
	LSN     position.LSN       `json:"lsn"`
	Ordinal uint32             `json:"ordinal"`
	Xid     uint32             `json:"xid"`
	Time    time.Time          `json:"commit_time"`
	Op      string             `json:"op"`
	Tables  []string           `json:"tables"`
	Old     map[string]*string `json:"old,omitempty"`
	New     map[string]*string `json:"new,omitempty"`
}

func (d *dumper) row(f *segment.Frame, row change.Row) error {
	tables := row.Truncated
	if row.Relation != nil {
		tables = []*change.Relation{row.Relation}
	}
	names, wanted := []string{}, d.table == ""
	for _, t := range tables {
		names = append(names, t.String())
		wanted = wanted || t.String() == d.table
	}
	if !wanted {
		return nil
	}
	if d.json {
		line := dumped{
			LSN: f.End, Ordinal: row.Ordinal, Xid: f.Xid, Time: f.Time.Time(), Op: row.Op.String(), Tables: names,
			Old: values(row.Relation, row.Old, row.OldKey), New: values(row.Relation, row.New, false),
		}
		return json.NewEncoder(d.out).Encode(line)
	}
	_, err := fmt.Fprintf(d.out, "  %d %s %s%s%s\n", row.Ordinal, row.Op, strings.Join(names, ", "),
		tuple(" old", row.Relation, row.Old, row.OldKey), tuple(" new", row.Relation, row.New, false))
	return err
}

// values leaves out what was not sent: unchanged TOAST, and the placeholders beside a key.
func values(rel *change.Relation, tuple []change.Value, keyOnly bool) map[string]*string {
	if tuple == nil || rel == nil {
		return nil
	}
	out := map[string]*string{}
	for i, v := range tuple {
		if i >= len(rel.Columns) || v.Kind == change.Unchanged || keyOnly && !rel.Columns[i].Key {
			continue
		}
		out[rel.Columns[i].Name] = nil
		if v.Kind != change.Null {
			text := string(v.Data)
			out[rel.Columns[i].Name] = &text
		}
	}
	return out
}

func tuple(label string, rel *change.Relation, t []change.Value, keyOnly bool) string {
	if t == nil || rel == nil {
		return ""
	}
	var parts []string
	for i, v := range t {
		switch {
		case i >= len(rel.Columns) || keyOnly && !rel.Columns[i].Key:
		case v.Kind == change.Unchanged:
			parts = append(parts, rel.Columns[i].Name+"=(unchanged)")
		case v.Kind == change.Null:
			parts = append(parts, rel.Columns[i].Name+"=null")
		default:
			parts = append(parts, fmt.Sprintf("%s=%q", rel.Columns[i].Name, v.Data))
		}
	}
	return label + " (" + strings.Join(parts, ", ") + ")"
}
