package snapshot

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"tidemark/internal/postgres"
)

// copyBuffer joins rows on their way: the server sends one message per row.
const copyBuffer = 256 << 10

// each runs work for every table, largest first, in as many goroutines as there are sessions. The first error ends all.
func (s *sessions) each(ctx context.Context, work func(ctx context.Context, worker int, source *pgx.Conn, table int) error) error {
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for worker, conn := range s.conns {
		group.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(s.tables) {
					return nil
				}
				if err := work(ctx, worker, conn, i); err != nil {
					return fmt.Errorf("copy table %s: %w", s.tables[i], err)
				}
			}
		})
	}
	return group.Wait()
}

// pipe copies a table's rows from source to target and returns how many. A copy that breaks off leaves no row: the
// target's COPY is failed, never ended.
func pipe(ctx context.Context, source, target *pgx.Conn, t Table, told Progress) (int64, error) {
	reader, writer := io.Pipe()
	out := make(chan error, 1)
	var sent int64
	go func() {
		buffer := bufio.NewWriterSize(&counter{to: writer, table: t, told: told}, copyBuffer)
		tag, err := source.PgConn().CopyTo(ctx, buffer, t.copyOut())
		if err == nil {
			err = buffer.Flush()
		}
		if err != nil {
			err = fmt.Errorf("read from source: %w", postgres.Explain(err))
		}
		sent = tag.RowsAffected()
		writer.CloseWithError(err) // a nil error is the end of the rows
		out <- err
	}()
	tag, err := target.PgConn().CopyFrom(ctx, reader, t.copyIn())
	reader.CloseWithError(errStopped) // the source's side must not wait for a reader that is gone
	readErr := <-out
	if readErr != nil && !errors.Is(readErr, errStopped) {
		return 0, readErr
	}
	if err != nil {
		return 0, fmt.Errorf("write to target: %w", postgres.Explain(err))
	}
	if readErr != nil || tag.RowsAffected() != sent {
		return 0, fmt.Errorf("write to target: it took %d of %d rows", tag.RowsAffected(), sent)
	}
	return sent, nil
}

var errStopped = errors.New("the other side of the copy has stopped")

// counter counts rows and bytes of COPY text on their way. In COPY text a newline is the end of a row and nothing else.
type counter struct {
	to    io.Writer
	table Table
	told  Progress
}

// Write counts and passes on.
func (c *counter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.told.Copied(c.table, int64(bytes.Count(p[:n], []byte{'\n'})), int64(n))
	return n, err
}
