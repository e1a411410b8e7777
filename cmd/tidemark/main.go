// Command tidemark is the change-data-capture replication service for PostgreSQL: see `tidemark --help`.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"tidemark/internal/planted"
)

func main() {
	notice, err := planted.Notice()
	if err != nil {
		fmt.Fprintln(os.Stderr, "tidemark:", err)
		os.Exit(exitUsage)
	}
	if notice != "" {
		fmt.Fprintln(os.Stderr, "tidemark:", notice)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	code := execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
