package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"tidemark/internal/daemon"
	"tidemark/internal/source"
)

func (a *app) initCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Prepare the source and the standby; may be run again at any time",
		Long: "Makes the schema tidemark, the publication and the replication slot on the source, and the progress table on the\n" +
			"standby. What cannot be prepared is named with the SQL that an administrator would run.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.init(cmd.Context()) },
	}
	a.sourceFlag(cmd)
	return cmd
}

func (a *app) init(ctx context.Context) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	if err := daemon.Prepare(ctx, cfg, a.logger(cfg.Log)); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.out, "prepared: publication %s, slot %s\n", cfg.Source.Publication.Name, cfg.Source.Slot)
	return err
}

func (a *app) checkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Look for everything that could keep the service from running well",
		Long:  "Changes nothing. Exits 1 when a check fails; warnings do not count.",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.check(cmd.Context()) },
	}
	a.sourceFlag(cmd)
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) check(ctx context.Context) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	findings := daemon.Check(ctx, cfg)
	if a.asJSON {
		if err := printJSON(a.out, findings); err != nil {
			return err
		}
	}
	failed := false
	for _, f := range findings {
		failed = failed || f.Level == source.Fail
		if a.asJSON {
			continue
		}
		fmt.Fprintf(a.out, "%-4s  %s: %s\n", f.Level, f.Name, f.Text)
		if f.Fix != "" {
			fmt.Fprintf(a.out, "      %s\n", f.Fix)
		}
	}
	if failed {
		return errReported
	}
	return nil
}

func (a *app) destroyCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "destroy",
		Short: "Remove slot, publication and schema that init made on the source",
		Long: "After this the source keeps no WAL for Tidemark, and the changes from here on are lost to the journal and to every copy.\n" +
			"Journal, standby, stream and archive are left as they are.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !force {
				return fmt.Errorf("%w: destroy breaks the chain of changes for good; say --force when that is meant", errUsage)
			}
			cfg, err := a.load()
			if err != nil {
				return err
			}
			return source.Destroy(cmd.Context(), daemon.SourceConfig(cfg))
		},
	}
	a.sourceFlag(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "really remove them")
	return cmd
}
