package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"tidemark/internal/config"
	"tidemark/internal/snapshot"
)

func (a *app) snapshotCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "snapshot", Short: "Copy the published tables as they are at one LSN", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.snapshotStandbyCommand(), a.snapshotArchiveCommand())
	return cmd
}

func (a *app) snapshotStandbyCommand() *cobra.Command {
	var jobs int
	var force bool
	cmd := &cobra.Command{
		Use:   "standby",
		Short: "Seed the standby: schema, rows, indexes; streaming then goes on without gap or overlap",
		Long: "The slot must exist (tidemark init). The service may run meanwhile, and takes over when the copy is complete.\n" +
			"A standby that is not empty is refused; with --force everything in that database is dropped first.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.snapshotStandby(cmd.Context(), jobs, force) },
	}
	a.sourceFlag(cmd)
	cmd.Flags().IntVar(&jobs, "jobs", 2, "tables copied at a time")
	cmd.Flags().BoolVar(&force, "force", false, "drop what is in the standby database first")
	return cmd
}

func (a *app) snapshotStandby(ctx context.Context, jobs int, force bool) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	if !cfg.Sinks.Standby.On() {
		return fmt.Errorf("%w: sinks.standby.url is not set: name the database to seed", config.ErrInvalid)
	}
	bar := a.copyProgress()
	report, err := snapshot.SeedStandby(ctx, snapshot.StandbyOptions{
		SourceURL: cfg.Source.URL.Reveal(), TargetURL: cfg.Sinks.Standby.URL.Reveal(), Publication: cfg.Source.Publication.Name,
		Slot: cfg.Source.Slot, Jobs: jobs, Force: force, Progress: bar, Log: a.logger(cfg.Log),
	})
	bar.finish()
	if err != nil {
		return fmt.Errorf("seed the standby: %w", err)
	}
	_, err = fmt.Fprintf(a.out, "standby seeded at %s: %d tables, %d rows in %s\n",
		report.LSN, report.Tables, report.Rows, report.Took.Round(time.Millisecond))
	return err
}

func (a *app) snapshotArchiveCommand() *cobra.Command {
	var jobs int
	var from string
	cmd := &cobra.Command{
		Use:   "archive",
		Short: "Write a base into the archive: restores begin at one",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if from != "source" {
				return fmt.Errorf("%w: --from is %q: this version takes bases from the source", errUsage, from)
			}
			return a.snapshotArchive(cmd.Context(), jobs)
		},
	}
	a.sourceFlag(cmd)
	cmd.Flags().IntVar(&jobs, "jobs", 2, "tables copied at a time")
	cmd.Flags().StringVar(&from, "from", "source", "where the rows are read")
	return cmd
}

func (a *app) snapshotArchive(ctx context.Context, jobs int) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	bucket, err := openBucket(ctx, cfg.Sinks.Archive.URL)
	if err != nil {
		return err
	}
	bar := a.copyProgress()
	m, err := snapshot.TakeBase(ctx, snapshot.BaseOptions{
		SourceURL: cfg.Source.URL.Reveal(), Bucket: bucket, Publication: cfg.Source.Publication.Name, Jobs: jobs, Progress: bar,
		Log: a.logger(cfg.Log),
	})
	bar.finish()
	if err != nil {
		return fmt.Errorf("take a base: %w", err)
	}
	var rows, size int64
	for _, t := range m.Tables {
		rows += t.Rows
		for _, p := range t.Parts {
			size += p.Size
		}
	}
	_, err = fmt.Fprintf(a.out, "base written at %s: %d tables, %d rows, %s in %.1fs\n", m.LSN, len(m.Tables), rows, bytesText(size), m.Seconds)
	return err
}

// copyProgress shows a copy as a bar over the tables' sizes, with rate and time left.
type copyProgress struct {
	mu   sync.Mutex
	bar  *progressbar.ProgressBar
	app  *app
	rows int64
}

func (a *app) copyProgress() *copyProgress { return &copyProgress{app: a} }

// Plan is called once, before the first row.
func (p *copyProgress) Plan(tables []snapshot.Table) {
	var total int64
	for _, t := range tables {
		total += t.Bytes
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bar = newBar(p.app, total, "copy")
}

// Copied adds rows and bytes. COPY text is not as large as the table on disk: the bar's end is an estimate.
func (p *copyProgress) Copied(t snapshot.Table, rows, bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rows += rows
	if p.bar == nil {
		return
	}
	p.bar.Describe(fmt.Sprintf("%s, %d rows", t, p.rows))
	if state := p.bar.State(); state.CurrentNum+bytes > state.Max {
		p.bar.ChangeMax64(state.CurrentNum + bytes + 1)
	}
	_ = p.bar.Add64(bytes)
}

// Done says that a table is complete.
func (p *copyProgress) Done(snapshot.Table) {}

func (p *copyProgress) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}
