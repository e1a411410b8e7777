package main

import (
	"context"
	"fmt"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"tidemark/internal/archive"
	"tidemark/internal/config"
	"tidemark/internal/position"
	"tidemark/internal/restore"
)

// restoreFlags are the command's flags.
type restoreFlags struct {
	archive, target string
	to, toLSN       string
	latest          bool
	dryRun, force   bool
	jobs            int
}

func (a *app) restoreCommand() *cobra.Command {
	var f restoreFlags
	cmd := &cobra.Command{
		Use:   "restore",
		Short: "Make a database as the source was at a moment, from the archive alone",
		Long: "Needs the bucket and an empty database, and neither source, journal nor service.\n\n" +
			"--to T restores every transaction, in commit order, before the first that committed later than T.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.restore(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.archive, "archive", "", "URL of the archive, s3://bucket/prefix or file:///path (required)")
	flags.StringVar(&f.target, "target", "", "URL of the database to restore into (required, unless --dry-run)")
	flags.StringVar(&f.to, "to", "", "moment, RFC 3339 with offset, such as 2026-03-01T12:00:00.5Z")
	flags.StringVar(&f.toLSN, "to-lsn", "", "LSN: transactions that end at or below it")
	flags.BoolVar(&f.latest, "latest", false, "everything that the archive holds")
	flags.BoolVar(&f.dryRun, "dry-run", false, "print the plan and change nothing")
	flags.BoolVar(&f.force, "force", false, "drop everything in the target database first")
	flags.IntVar(&f.jobs, "jobs", 2, "parts of the base loaded at a time")
	a.jsonFlag(cmd)
	return cmd
}

func (f restoreFlags) moment() (restore.Target, error) {
	t := restore.Target{Latest: f.latest}
	if f.to != "" {
		at, err := time.Parse(time.RFC3339Nano, f.to)
		if err != nil {
			return t, fmt.Errorf("%w: --to is %q: want RFC 3339 with offset, such as 2026-03-01T12:00:00.5Z", errUsage, f.to)
		}
		if t.Time = position.TimeOf(at); t.Time.IsZero() { // which stands for no time
			return t, fmt.Errorf("%w: --to is %s, the beginning of PostgreSQL's time: no archive reaches it", errUsage, t.Time)
		}
	}
	if f.toLSN != "" {
		lsn, err := position.ParseLSN(f.toLSN)
		if err != nil {
			return t, fmt.Errorf("%w: --to-lsn: %w", errUsage, err)
		}
		t.LSN = lsn
	}
	if t.Validate() != nil {
		return t, fmt.Errorf("%w: say exactly one of --to, --to-lsn and --latest", errUsage)
	}
	return t, nil
}

func (a *app) restore(ctx context.Context, f restoreFlags) error {
	target, err := f.moment()
	if err != nil {
		return err
	}
	if f.archive == "" || f.target == "" && !f.dryRun {
		return fmt.Errorf("%w: --archive and --target are required", errUsage)
	}
	bucket, err := openBucket(ctx, f.archive)
	if err != nil {
		return err
	}
	store, err := archive.OpenStore(ctx, bucket)
	if err != nil {
		return err
	}
	plan, err := restore.Prepare(ctx, store, target)
	if err != nil {
		return err
	}
	if f.dryRun {
		return a.printPlan(plan)
	}
	var bar *progressbar.ProgressBar
	var stage string
	report, err := restore.Run(ctx, store, plan, f.target, restore.Options{Jobs: f.jobs, Force: f.force, Progress: func(now string, done, total int64) {
		if now != stage {
			stage, bar = now, newBar(a, total, now)
		}
		_ = bar.Set64(done)
	}}, a.logger(config.Default().Log))
	if bar != nil {
		_ = bar.Finish()
	}
	if err != nil {
		return err
	}
	return a.printRestored(report)
}

// planned is what --dry-run --json prints.
type planned struct {
	Target   string       `json:"target"`
	Base     position.LSN `json:"base_lsn"`
	BaseTime time.Time    `json:"base_time"`
	Tables   int          `json:"tables"`
	Objects  int          `json:"objects"`
	Bytes    int64        `json:"bytes"`
	// BadBases are manifests that cannot be used.
	BadBases []string `json:"bad_bases,omitempty"`
}

func (a *app) printPlan(p restore.Plan) error {
	out := planned{
		Target: p.Target.String(), Base: p.Base.LSN, BaseTime: p.Base.Time, Tables: len(p.Base.Tables), Objects: len(p.Objects), Bytes: p.Bytes(),
	}
	for _, d := range p.Damaged {
		out.BadBases = append(out.BadBases, d.Key)
	}
	if a.asJSON {
		return printJSON(a.out, out)
	}
	for _, d := range p.Damaged {
		fmt.Fprintf(a.out, "BAD %s: %s\n", d.Key, oneLine(d.Reason))
	}
	_, err := fmt.Fprintf(a.out, "restore to %s: base at %s (%s) with %d tables, then %d journal objects; %s to read\n",
		out.Target, out.Base, out.BaseTime.Format(time.RFC3339Nano), out.Tables, out.Objects, bytesText(out.Bytes))
	return err
}

func (a *app) printRestored(r restore.Report) error {
	if a.asJSON {
		return printJSON(a.out, r)
	}
	fmt.Fprintf(a.out, "restored to %s in %.1fs\n", r.Target, r.Seconds)
	fmt.Fprintf(a.out, "  last transaction  %s, committed %s\n", r.LSN, r.Time.Format(time.RFC3339Nano))
	fmt.Fprintf(a.out, "  base at %s: %d rows in %d tables; then %d transactions with %d changes\n",
		r.Base, r.BaseRows, len(r.Tables), r.Transactions, r.Changes)
	if r.Inversions > 0 {
		fmt.Fprintf(a.out, "  %d transactions committed earlier, by the source's clock, than one before them\n", r.Inversions)
	}
	for _, v := range r.StaleViews {
		fmt.Fprintf(a.out, "  materialized view %s could not be refreshed and is as it was at the base\n", v)
	}
	_, err := fmt.Fprintf(a.out, "next: %s\n", r.Next)
	return err
}
