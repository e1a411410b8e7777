package main

import (
	"context"

	"github.com/spf13/cobra"

	"tidemark/internal/daemon"
	"tidemark/internal/trace"
)

func (a *app) runCommand() *cobra.Command {
	var (
		prepare   bool
		traceFile string
	)
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the service",
		Long: "Captures, keeps the journal, feeds the standby, the stream and the archive, and serves status and metrics, until SIGTERM.\n\n" +
			"With --source alone everything else has a default below ./tidemark-data, and the source is prepared first as `init` does,\n" +
			"as long as there is no journal yet. With a configuration file the source must have been prepared, or say --init.\n\n" +
			"With --trace FILE a line of JSON is appended to FILE for each transaction that was written to the journal, for each fsync\n" +
			"that returned, and for each acknowledgement before it is sent, so that the last can be checked against the others. It holds\n" +
			"no rows. It grows without end, and when it cannot be written the service stops.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.run(cmd.Context(), prepare || (a.configFile == "" && a.source != ""), traceFile)
		},
	}
	a.sourceFlag(cmd)
	cmd.Flags().BoolVar(&prepare, "init", false, "prepare the source first, when there is no journal yet")
	cmd.Flags().StringVar(&traceFile, "trace", "", "append what is written, fsynced and acknowledged to this file, as JSON lines")
	return cmd
}

func (a *app) run(ctx context.Context, prepare bool, traceFile string) (err error) {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	token, err := readToken(cfg.HTTP.TokenFile)
	if err != nil {
		return err
	}
	log := a.logger(cfg.Log)
	opts := daemon.Options{Version: version, Log: log, Token: token, Prepare: prepare}
	if traceFile != "" {
		if opts.Trace, err = trace.Open(traceFile, version); err != nil {
			return err
		}
		defer func() {
			if closing := opts.Trace.Close(); err == nil {
				err = closing
			}
		}()
	}
	service, err := daemon.Open(ctx, cfg, opts)
	if err != nil && ctx.Err() != nil {
		log.Info("tidemark has stopped before it ran") // as it was told: nothing failed
		return nil
	}
	if err != nil {
		return err
	}
	return service.Run(ctx)
}
