// Command checker runs a random load, random faults and an exact oracle against the tidemark program and real servers, and
// says whether any promise was broken. README.md tells how it works; `make check` builds and runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"tidemark/integration/checker/run"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := command(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// options are the command's flags.
type options struct {
	bin, dir, planted   string
	major, sessions     int
	seed                uint64
	minutes, rate       float64
	each                float64
	keep, json, verbose bool
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("checker", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.bin, "bin", "bin/tidemark", "the program to check")
	f.StringVar(&o.dir, "dir", "", "where the runs' directories are made (the system's temporary directory)")
	f.StringVar(&o.planted, "planted", "", "planted bug to switch on; -bin must be built with the tag planted")
	f.IntVar(&o.major, "pg", 17, "PostgreSQL version of all servers")
	f.IntVar(&o.sessions, "sessions", 0, "sessions of the load, 1 to 32 (0: by the seed)")
	f.Uint64Var(&o.seed, "seed", 0, "seed of the first run (0: random)")
	f.Float64Var(&o.minutes, "minutes", 3, "minutes of load and faults, in all")
	f.Float64Var(&o.each, "each", 10, "minutes of one run at most: what goes beyond is another run, with the next seed")
	f.Float64Var(&o.rate, "rate", 0, "most transactions a second (0: default)")
	f.BoolVar(&o.keep, "keep", false, "keep the directories of runs that find nothing, too")
	f.BoolVar(&o.json, "json", false, "print reports as JSON, one a line")
	f.BoolVar(&o.verbose, "v", false, "log what happens")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if o.seed == 0 {
		o.seed = rand.Uint64N(1<<31) + 1
	}
	return o, nil
}

// command makes runs until the minutes are over or one finds something. It returns the exit code: 1 for a violation, 2 for a
// run that proves nothing.
func command(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "checker:", err)
		return 2
	}
	for left := o.minutes; left > 0; left -= o.each {
		report, err := one(ctx, o, time.Duration(min(left, o.each)*float64(time.Minute)), stderr)
		if o.json {
			fmt.Fprintln(stdout, report.JSON())
		} else {
			fmt.Fprint(stdout, report.Text())
		}
		if err != nil {
			fmt.Fprintf(stderr, "checker: the run proves nothing: %v (seed %d, files in %s)\n", err, o.seed, report.Dir)
			return 2
		}
		if report.Violation != "" {
			return 1
		}
		o.seed++
	}
	return 0
}

func one(ctx context.Context, o options, length time.Duration, stderr io.Writer) (run.Report, error) {
	dir, err := os.MkdirTemp(o.dir, fmt.Sprintf("tidemark-check-%d-", o.seed))
	if err != nil {
		return run.Report{}, fmt.Errorf("make directory: %w", err)
	}
	bin, err := filepath.Abs(o.bin)
	if err != nil {
		return run.Report{}, fmt.Errorf("find the program: %w", err)
	}
	level := slog.LevelWarn
	if o.verbose {
		level = slog.LevelDebug
	}
	return run.Run(ctx, run.Config{
		Bin: bin, Dir: dir, Major: o.major, Seed: o.seed, Length: length, Sessions: o.sessions, Rate: o.rate,
		Planted: o.planted, Keep: o.keep, Log: slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level})),
	})
}
