package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"tidemark/internal/config"
	"tidemark/internal/control"
)

func (a *app) statusCommand() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show positions, lag and tier of every copy",
		Long: "Asks the running service (http.listen of the configuration). Exits 1 when it cannot be reached or when any copy\n" +
			"is breached.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.status(cmd.Context(), watch) },
	}
	a.jsonFlag(cmd)
	cmd.Flags().BoolVar(&watch, "watch", false, "redraw every second")
	return cmd
}

func (a *app) status(ctx context.Context, watch bool) error {
	cfg, err := config.Load(a.configFile, os.LookupEnv)
	if err != nil {
		return err
	}
	client, err := controlClient(cfg.HTTP)
	if err != nil {
		return err
	}
	if watch {
		return client.Watch(ctx, 1000, func(s control.State) error {
			if !a.asJSON {
				fmt.Fprint(a.out, "\x1b[H\x1b[2J")
			}
			return a.printState(s)
		})
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	state, err := client.Status(ctx)
	if err != nil {
		return err
	}
	if err := a.printState(state); err != nil {
		return err
	}
	if state.Breached() {
		return errReported
	}
	return nil
}

func controlClient(cfg config.HTTP) (*control.Client, error) {
	token, err := readToken(cfg.TokenFile)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("%w: http.listen is %q: want host:port", config.ErrInvalid, cfg.Listen)
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	scheme := "http"
	if cfg.TLS.Cert != "" {
		scheme = "https"
	}
	return control.NewClient(scheme+"://"+net.JoinHostPort(host, port), token), nil
}

func readToken(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%w: http.token_file: %w", config.ErrInvalid, err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", fmt.Errorf("%w: http.token_file %s is empty", config.ErrInvalid, file)
	}
	return token, nil
}

func (a *app) printState(s control.State) error {
	if a.asJSON {
		return printJSON(a.out, s)
	}
	return writeState(a.out, s)
}

func writeState(w io.Writer, s control.State) error {
	connected := "connected"
	if !s.Source.Connected {
		connected = "NOT CONNECTED: " + s.Source.Reason
	}
	fmt.Fprintf(w, "source   %s, PostgreSQL %s, %s\n", s.Source.Database, s.Source.ServerVersion, connected)
	fmt.Fprintf(w, "         received %s of %s, clock offset %+.3fs\n", s.Source.Received, s.Source.WALEnd, s.Source.ClockOffset)
	fmt.Fprintf(w, "slot     %s, %s of WAL retained on the primary\n", s.Source.Slot.Name, bytesText(s.Source.Slot.RetainedBytes))
	fmt.Fprintf(w, "journal  %s to %s, %s in %d segments\n\n", s.Journal.Oldest, s.Journal.Durable, bytesText(s.Journal.Bytes), s.Journal.Segments)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "COPY\tSTATUS\tLAG\tTARGET\tBYTES\tPOSITION\tSTATE")
	for _, c := range s.Copies {
		lag := "unknown"
		if c.LagSeconds >= 0 {
			lag = fmt.Sprintf("%.3fs", c.LagSeconds)
		}
		state := c.State
		if c.Reason != "" {
			state += ": " + c.Reason
		}
		target := time.Duration(c.TargetSeconds * float64(time.Second))
		fmt.Fprintf(t, "%s\t%s\t%s\t%s (tier %d)\t%s\t%s\t%s\n", c.Name, c.Status, lag, target, c.Tier, bytesText(c.LagBytes), c.Position, state)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if !s.Ready {
		fmt.Fprintf(w, "\nNOT READY\n  %s\n", strings.Join(s.Reasons, "\n  "))
	}
	return nil
}

func bytesText(n int64) string {
	if n < 0 {
		return "unknown"
	}
	return humanize.IBytes(uint64(n))
}
