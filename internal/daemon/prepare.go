package daemon

import (
	"context"
	"fmt"
	"log/slog"

	"tidemark/internal/apply"
	"tidemark/internal/archive"
	"tidemark/internal/config"
	"tidemark/internal/objstore"
	"tidemark/internal/postgres"
	"tidemark/internal/source"
)

// Prepare makes what the service needs on the source (schema, publication, slot) and on the standby (schema, progress
// table). It may be run again at any time.
func Prepare(ctx context.Context, cfg config.Config, log *slog.Logger) error {
	if err := prepareSource(ctx, cfg, log); err != nil {
		return err
	}
	if !cfg.Sinks.Standby.On() {
		return nil
	}
	conn, err := postgres.Connect(ctx, cfg.Sinks.Standby.URL.Reveal(), "tidemark init")
	if err != nil {
		return fmt.Errorf("prepare the standby: connect: %w", err)
	}
	defer conn.Close(ctx)
	if err := apply.Migrate(ctx, conn); err != nil {
		return fmt.Errorf("prepare the standby: %w", err)
	}
	return nil
}

func prepareSource(ctx context.Context, cfg config.Config, log *slog.Logger) error {
	report, err := source.Init(ctx, SourceConfig(cfg), log)
	if err != nil {
		return fmt.Errorf("prepare the source: %w", err)
	}
	for _, f := range report.Warnings {
		log.Warn("source", "check", f.Name, "found", f.Text, "fix", f.Fix)
	}
	return nil
}

// Check looks at everything that the service needs, and changes nothing but a probe object in the archive, which it
// removes.
func Check(ctx context.Context, cfg config.Config) []source.Finding {
	findings := source.Check(ctx, SourceConfig(cfg))
	if cfg.Sinks.Standby.On() {
		findings = append(findings, checkStandby(ctx, cfg))
	}
	if cfg.Sinks.Archive.On() {
		findings = append(findings, checkArchive(ctx, cfg))
	}
	return findings
}

func checkStandby(ctx context.Context, cfg config.Config) source.Finding {
	f := source.Finding{Name: "standby", Level: source.OK, Text: "the standby can be reached"}
	conn, err := postgres.Connect(ctx, cfg.Sinks.Standby.URL.Reveal(), "tidemark check")
	if err != nil {
		f.Level, f.Text, f.Fix = source.Fail, err.Error(), "mend sinks.standby.url, or the server there"
		return f
	}
	defer conn.Close(ctx)
	var seeded bool
	err = conn.QueryRow(ctx, "select to_regclass('tidemark.progress') is not null").Scan(&seeded)
	if err == nil && seeded {
		err = conn.QueryRow(ctx, "select exists (select from tidemark.progress)").Scan(&seeded)
	}
	if err != nil {
		f.Level, f.Text = source.Fail, postgres.Explain(err).Error()
	} else if !seeded {
		f.Level, f.Text, f.Fix = source.Warn, "the standby holds no copy of the source yet", "run tidemark snapshot standby"
	}
	return f
}

func checkArchive(ctx context.Context, cfg config.Config) source.Finding {
	f := source.Finding{Name: "archive", Level: source.OK, Text: "the archive takes objects and refuses to overwrite them"}
	bucket, err := archive.OpenBucket(ctx, ArchiveURL(cfg.Sinks.Archive.URL))
	if err == nil {
		err = objstore.SelfTest(ctx, bucket)
	}
	if err != nil {
		f.Level, f.Text, f.Fix = source.Fail, err.Error(), "mend sinks.archive.url, the credentials, or the store"
	}
	return f
}
