package main

import (
	"context"

	"github.com/spf13/cobra"

	"tidemark/internal/daemon"
)

func (a *app) runCommand() *cobra.Command {
	var prepare bool
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the service",
		Long: "Captures, keeps the journal, feeds the standby, the stream and the archive, and serves status and metrics, until SIGTERM.\n\n" +
			"With --source alone everything else has a default below ./tidemark-data, and the source is prepared first as `init` does,\n" +
			"as long as there is no journal yet. With a configuration file the source must have been prepared, or say --init.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.run(cmd.Context(), prepare || (a.configFile == "" && a.source != ""))
		},
	}
	a.sourceFlag(cmd)
	cmd.Flags().BoolVar(&prepare, "init", false, "prepare the source first, when there is no journal yet")
	return cmd
}

func (a *app) run(ctx context.Context, prepare bool) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	token, err := readToken(cfg.HTTP.TokenFile)
	if err != nil {
		return err
	}
	log := a.logger(cfg.Log)
	service, err := daemon.Open(ctx, cfg, daemon.Options{Version: version, Log: log, Token: token, Prepare: prepare})
	if err != nil {
		return err
	}
	return service.Run(ctx)
}
