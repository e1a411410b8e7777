package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"tidemark/internal/config"
)

// The exit codes of every command.
const (
	exitDone   = 0 // done
	exitFailed = 1 // failed, or not compliant
	exitUsage  = 2 // wrong usage or configuration
)

// errUsage marks errors of the command line itself.
var errUsage = errors.New("wrong usage")

// errReported ends a command with exit code 1 after it has printed its report: nothing more is to be said.
var errReported = errors.New("reported")

// app is what all commands share.
type app struct {
	configFile string
	source     string
	asJSON     bool
	out        io.Writer
	errOut     io.Writer
}

// execute runs one command line and returns its exit code. An error is one line on stderr: what was attempted, what
// happened, what to do.
func execute(ctx context.Context, args []string, out, errOut io.Writer) int {
	a := &app{out: out, errOut: errOut}
	root := a.root()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errOut)
	cmd, err := root.ExecuteContextC(ctx)
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errReported):
		return exitFailed
	}
	fmt.Fprintf(errOut, "%s: %s\n", cmd.CommandPath(), oneLine(err.Error()))
	if errors.Is(err, errUsage) || errors.Is(err, config.ErrInvalid) || strings.HasPrefix(err.Error(), "unknown command") {
		return exitUsage
	}
	return exitFailed
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func (a *app) root() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tidemark",
		Short: "Change-data-capture replication for PostgreSQL, with an honest RPO",
		Long: "Tidemark stands beside a PostgreSQL primary, keeps every committed transaction in a durable journal, carries it to a\n" +
			"standby database, to NATS subjects and to S3, says how much would be lost if the primary died now, and restores any\n" +
			"past moment from S3 alone.\n\nExit codes: 0 done, 1 failed or not compliant, 2 wrong usage or configuration.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.CompletionOptions.HiddenDefaultCmd = true
	cmd.PersistentFlags().StringVarP(&a.configFile, "config", "c", "", "configuration file (YAML)")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", errUsage, err) })
	cmd.AddCommand(
		a.runCommand(), a.initCommand(), a.checkCommand(), a.statusCommand(), a.snapshotCommand(), a.archiveCommand(),
		a.journalCommand(), a.restoreCommand(), a.demoCommand(), a.destroyCommand(), a.versionCommand(),
	)
	return cmd
}

// noArgs refuses arguments with exit code 2; an argument to a command group is an unknown command.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%w: unknown command or argument %q; see %s --help", errUsage, args[0], cmd.CommandPath())
	}
	return nil
}

func (a *app) sourceFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.source, "source", "", "connection URL of the primary; overrides source.url")
}

func (a *app) jsonFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.asJSON, "json", false, "print JSON")
}

// load reads the configuration and checks it.
func (a *app) load() (config.Config, error) {
	cfg, err := config.Load(a.configFile, os.LookupEnv)
	if err != nil {
		return config.Config{}, err
	}
	if a.source != "" {
		cfg.Source.URL = config.Secret(a.source)
	}
	return cfg, cfg.Validate()
}

// logger writes to stderr as configured.
func (a *app) logger(cfg config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		level = slog.LevelInfo // Validate has checked it
	}
	opts := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(a.errOut, opts))
	}
	return slog.New(slog.NewTextHandler(a.errOut, opts))
}
