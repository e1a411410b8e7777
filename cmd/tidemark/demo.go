package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"tidemark/internal/demo"
)

func (a *app) demoCommand() *cobra.Command {
	var duration time.Duration
	var verbose bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the whole path on throw-away servers",
		Long: "Starts a primary, a standby, a stream and an archive on this machine, puts a mixed load on them, loses a table, restores\n" +
			"to the moment before, and compares everything. With --json the last line on stdout is the result, and progress goes to stderr.\n" +
			"Exits 1 unless everything compared equal.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if duration < time.Second {
				return fmt.Errorf("%w: --duration must be at least 1s", errUsage)
			}
			return a.demo(cmd.Context(), duration, verbose)
		},
	}
	a.jsonFlag(cmd)
	cmd.Flags().DurationVar(&duration, "duration", 20*time.Second, "how long the load runs")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "show the service's own log on stderr")
	return cmd
}

func (a *app) demo(ctx context.Context, duration time.Duration, verbose bool) error {
	opts := demo.Options{Duration: duration, Progress: a.out, Log: slog.New(slog.DiscardHandler), Version: version}
	if a.asJSON {
		opts.Progress = a.errOut
	}
	if verbose {
		opts.Log = slog.New(slog.NewTextHandler(a.errOut, nil))
	}
	result, err := demo.Run(ctx, opts)
	if err != nil {
		return fmt.Errorf("run the demo: %w", err)
	}
	if a.asJSON {
		if err := json.NewEncoder(a.out).Encode(result); err != nil {
			return err
		}
	} else {
		a.printDemo(result)
	}
	if !result.Verified {
		return errReported
	}
	return nil
}

func (a *app) printDemo(r demo.Result) {
	word := map[bool]string{true: "verified", false: "DIFFERS"}
	fmt.Fprintf(a.out, "\n%d transactions with %d rows\n", r.Transactions, r.Rows)
	fmt.Fprintf(a.out, "standby   %s, visible after %.1f ms (p50), %.1f ms (p99)\n", word[r.Standby.Verified], r.Standby.LagP50, r.Standby.LagP99)
	fmt.Fprintf(a.out, "stream    %s, %d messages, at the subscriber after %.1f ms (p50), %.1f ms (p99)\n",
		word[r.NATS.Verified], r.NATS.Messages, r.NATS.LagP50, r.NATS.LagP99)
	fmt.Fprintf(a.out, "archive   %d objects, %s\n", r.Archive.Objects, bytesText(r.Archive.Bytes))
	fmt.Fprintf(a.out, "restore   %s, to %s in %.1f s\n", word[r.Restore.Verified], r.Restore.Target, r.Restore.Seconds)
}
