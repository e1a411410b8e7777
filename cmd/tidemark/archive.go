package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tidemark/internal/archive"
	"tidemark/internal/config"
	"tidemark/internal/daemon"
	"tidemark/internal/objstore"
	"tidemark/internal/position"
)

func (a *app) archiveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "archive", Short: "Look at the archive", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var url string
	cmd.PersistentFlags().StringVar(&url, "archive", "", "URL of the archive; otherwise sinks.archive.url")
	ls := &cobra.Command{
		Use: "ls", Short: "List bases, covered range and holes", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.archiveLs(cmd.Context(), url) },
	}
	verify := &cobra.Command{
		Use: "verify", Short: "Read everything back and check every digest", Args: noArgs,
		Long: "Exits 1 on a hole or a bad digest.",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.archiveVerify(cmd.Context(), url) },
	}
	a.jsonFlag(ls)
	a.jsonFlag(verify)
	cmd.AddCommand(ls, verify)
	return cmd
}

// openArchive needs no source: the bucket alone is enough.
func (a *app) openArchive(ctx context.Context, url string) (*archive.Store, error) {
	if url == "" {
		cfg, err := config.Load(a.configFile, os.LookupEnv)
		if err != nil {
			return nil, err
		}
		url = cfg.Sinks.Archive.URL
	}
	bucket, err := openBucket(ctx, url)
	if err != nil {
		return nil, err
	}
	return archive.OpenStore(ctx, bucket)
}

// openBucket takes a bad URL for wrong usage, but not what the environment lacks, such as credentials.
func openBucket(ctx context.Context, url string) (objstore.Bucket, error) {
	bucket, err := archive.OpenBucket(ctx, daemon.ArchiveURL(url))
	if errors.Is(err, objstore.ErrURL) {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	return bucket, err
}

// listing is what `archive ls --json` prints.
type listing struct {
	SystemID string       `json:"system_id"`
	Database string       `json:"database"`
	Bases    []listedBase `json:"bases"`
	// BadBases are manifests that cannot be used.
	BadBases []archive.Problem `json:"bad_bases"`
	Ranges   []listedRange     `json:"ranges"`
	Holes    []string          `json:"holes"`
}

type listedBase struct {
	LSN    position.LSN `json:"lsn"`
	Time   time.Time    `json:"time"`
	Tables int          `json:"tables"`
	Rows   int64        `json:"rows"`
	Bytes  int64        `json:"bytes"`
}

// listedRange is an unbroken run of journal objects: every transaction that ends behind After, up to Last.
type listedRange struct {
	After        position.LSN `json:"after"`
	Last         position.LSN `json:"last"`
	From         time.Time    `json:"from,omitzero"`
	To           time.Time    `json:"to,omitzero"`
	Objects      int          `json:"objects"`
	Transactions uint64       `json:"transactions"`
	Bytes        int64        `json:"bytes"`
}

func (a *app) archiveLs(ctx context.Context, url string) error {
	store, err := a.openArchive(ctx, url)
	if err != nil {
		return err
	}
	bases, bad, err := store.Bases(ctx)
	if err != nil {
		return err
	}
	objects, err := store.Objects(ctx)
	if err != nil {
		return err
	}
	l := listing{SystemID: store.Identity().SystemID, Database: store.Identity().Database, Bases: []listedBase{}, BadBases: []archive.Problem{}}
	l.BadBases = append(l.BadBases, bad...)
	for _, m := range bases {
		l.Bases = append(l.Bases, describeBase(m))
	}
	l.Ranges, l.Holes = ranges(objects)
	if a.asJSON {
		err = printJSON(a.out, l)
	} else {
		err = a.printListing(l)
	}
	if err == nil && len(l.Holes)+len(l.BadBases) > 0 {
		return errReported
	}
	return err
}

func describeBase(m archive.Manifest) listedBase {
	b := listedBase{LSN: m.LSN, Time: m.Time, Tables: len(m.Tables)}
	for _, t := range m.Tables {
		b.Rows += t.Rows
		for _, p := range t.Parts {
			b.Bytes += p.Size
		}
	}
	return b
}

func ranges(objects []archive.Object) (runs []listedRange, holes []string) {
	runs, holes = []listedRange{}, []string{}
	var before archive.Object
	for i, o := range objects {
		reason := ""
		if i > 0 || o.Damage != "" {
			reason = o.Follows(before)
		}
		// Behind a damaged object begins another range; that is no second hole.
		if reason != "" && (o.Damage != "" || before.Damage == "" || o.Sequence != before.Sequence+1) {
			holes = append(holes, reason)
		}
		if o.Damage != "" {
			before = o
			continue
		}
		if len(runs) == 0 || reason != "" || before.Damage != "" {
			runs = append(runs, listedRange{After: o.After, From: o.MinTime})
		}
		run := &runs[len(runs)-1]
		run.Last, run.Objects, run.Transactions, run.Bytes = o.Last, run.Objects+1, run.Transactions+o.Transactions, run.Bytes+o.Size
		if o.MaxTime.After(run.To) {
			run.To = o.MaxTime
		}
		before = o
	}
	return runs, holes
}

func (a *app) printListing(l listing) error {
	fmt.Fprintf(a.out, "archive of database %s, system %s\n\n", l.Database, l.SystemID)
	t := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "BASE AT\tTIME\tTABLES\tROWS\tSIZE")
	for _, b := range l.Bases {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\n", b.LSN, b.Time.Format(time.RFC3339Nano), b.Tables, b.Rows, bytesText(b.Bytes))
	}
	fmt.Fprintln(t, "\nCHANGES BEHIND\tUP TO\tFROM\tTO\tTRANSACTIONS\tOBJECTS\tSIZE")
	for _, r := range l.Ranges {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%d\t%s\n", r.After, r.Last, r.From.Format(time.RFC3339Nano), r.To.Format(time.RFC3339Nano),
			r.Transactions, r.Objects, bytesText(r.Bytes))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(l.Bases) == 0 {
		fmt.Fprintln(a.out, "\nNO BASE: nothing can be restored yet; run tidemark snapshot archive")
	}
	for _, p := range l.BadBases {
		fmt.Fprintf(a.out, "\nBAD %s: %s\n", p.Key, oneLine(p.Reason))
	}
	for _, h := range l.Holes {
		fmt.Fprintln(a.out, "\nHOLE: "+h)
	}
	return nil
}

func (a *app) archiveVerify(ctx context.Context, url string) error {
	store, err := a.openArchive(ctx, url)
	if err != nil {
		return err
	}
	bar := newBar(a, 1, "verify")
	report, err := store.Verify(ctx, func(done, total int, _ int64) {
		bar.ChangeMax(max(total, 1))
		_ = bar.Set(done)
	})
	_ = bar.Finish()
	if err != nil {
		return err
	}
	if a.asJSON {
		err = printJSON(a.out, report)
	} else {
		fmt.Fprintf(a.out, "%d journal objects and %d bases, %s, changes from %s to %s\n",
			report.Objects, report.Bases, bytesText(report.Bytes), report.After, report.Last)
		for _, p := range report.Problems {
			fmt.Fprintf(a.out, "BAD %s: %s\n", p.Key, p.Reason)
		}
	}
	if err == nil && len(report.Problems) > 0 {
		return errReported
	}
	return err
}
