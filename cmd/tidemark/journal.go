package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tidemark/internal/config"
	"tidemark/internal/journal"
	"tidemark/internal/position"
	"tidemark/internal/vfs"
)

func (a *app) journalCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "journal", Short: "Look at the journal, also while the service runs", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var dir string
	cmd.PersistentFlags().StringVar(&dir, "dir", "", "journal directory; otherwise journal.dir")
	ls := &cobra.Command{
		Use: "ls", Short: "List segments", Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return a.journalLs(dir) },
	}
	verify := &cobra.Command{
		Use: "verify", Short: "Check every checksum and the chain of digests", Args: noArgs,
		Long: "Exits 1 on corruption below the durable position.",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.journalVerify(cmd.Context(), dir) },
	}
	a.jsonFlag(ls)
	a.jsonFlag(verify)
	cmd.AddCommand(ls, verify, a.journalDumpCommand(&dir))
	return cmd
}

// openJournal needs no source.
func (a *app) openJournal(dir string) (*journal.View, error) {
	if dir == "" {
		cfg, err := config.Load(a.configFile, os.LookupEnv)
		if err != nil {
			return nil, err
		}
		dir = cfg.Journal.Dir
	}
	view, err := journal.OpenReadOnly(vfs.OS{}, dir)
	if errors.Is(err, journal.ErrEmpty) {
		return nil, fmt.Errorf("%w; name it with --dir or journal.dir", err)
	}
	return view, err
}

// listedSegment is an element of `journal ls --json` and `journal verify --json`.
type listedSegment struct {
	Name         string       `json:"name"`
	After        position.LSN `json:"after"`
	Last         position.LSN `json:"last"`
	From         time.Time    `json:"from,omitzero"`
	To           time.Time    `json:"to,omitzero"`
	Transactions uint64       `json:"transactions"`
	Rows         uint64       `json:"rows"`
	Bytes        int64        `json:"bytes"`
	Unfinished   int64        `json:"unfinished_bytes"`
	Sealed       bool         `json:"sealed"`
	Problem      string       `json:"problem,omitempty"`
}

func listSegment(i journal.Info) listedSegment {
	out := listedSegment{
		Name: i.Name, After: i.After, Last: i.Last, Transactions: i.Transactions, Rows: i.Rows, Bytes: i.Bytes,
		Unfinished: i.Unfinished, Sealed: i.Sealed,
	}
	if !i.MaxTime.IsZero() {
		out.From, out.To = i.MinTime.Time(), i.MaxTime.Time()
	}
	return out
}

func (a *app) journalLs(dir string) error {
	view, err := a.openJournal(dir)
	if err != nil {
		return err
	}
	list := []listedSegment{}
	for _, i := range view.Segments() {
		list = append(list, listSegment(i))
	}
	return a.printSegments(list)
}

func (a *app) journalVerify(ctx context.Context, dir string) error {
	view, err := a.openJournal(dir)
	if err != nil {
		return err
	}
	checks, problem := view.Verify(ctx)
	list := []listedSegment{}
	for _, c := range checks {
		s := listSegment(c.Info)
		if c.Err != nil {
			s.Problem = c.Err.Error()
		}
		list = append(list, s)
	}
	if err := a.printSegments(list); err != nil {
		return err
	}
	if problem != nil {
		return fmt.Errorf("verify journal: %w", problem)
	}
	return nil
}

func (a *app) printSegments(list []listedSegment) error {
	if a.asJSON {
		return printJSON(a.out, list)
	}
	t := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SEGMENT\tAFTER\tLAST\tFROM\tTO\tTRANSACTIONS\tROWS\tSIZE\tSTATE")
	for _, s := range list {
		state := "tail"
		if s.Sealed {
			state = "sealed"
		}
		if s.Problem != "" {
			state = "BAD: " + s.Problem
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\n", s.Name, s.After, s.Last, clock(s.From), clock(s.To),
			s.Transactions, s.Rows, bytesText(s.Bytes), state)
	}
	return t.Flush()
}

func clock(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

// eachTransaction walks the journal's frames.
func eachTransaction(ctx context.Context, view *journal.View, after position.LSN, d *dumper) error {
	r, err := view.Read(after)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // it only reads
	for {
		f, err := r.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		more, err := d.frame(&f)
		if err != nil || !more {
			return err
		}
	}
}
