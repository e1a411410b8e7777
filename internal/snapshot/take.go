package snapshot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"

	"tidemark/internal/postgres"
)

// taken is a snapshot that is ready to be copied: imported, locked, and with the schema that fits it.
type taken struct {
	*Exported
	source    *sessions
	pre, post []byte
}

// Tables that the application truncates or rewrites often, or alters just now, make a snapshot unfit. The next one
// costs little: the window between the snapshot and the locks is a few milliseconds.
const (
	snapshotTries = 20
	schemaTries   = 3
)

// take takes a snapshot of the source and makes it ready. The caller calls close.
func take(ctx context.Context, url, publication string, jobs int, log *slog.Logger) (*taken, error) {
	now, err := connect(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("connect to source: %w", err)
	}
	defer closeSession(now)
	var t *taken
	for range schemaTries {
		if t, err = takeWithSchema(ctx, now, url, publication, jobs, log); !errors.Is(err, ErrChanged) {
			break
		}
		log.Info("taking the snapshot again", "reason", err)
	}
	return t, err
}

// takeWithSchema dumps the schema before the snapshot: pg_dump takes locks of its own, and must not wait behind somebody who waits
// for ours. That no table was altered from before the dump until the locks makes the two fit.
func takeWithSchema(ctx context.Context, now *pgx.Conn, url, publication string, jobs int, log *slog.Logger) (_ *taken, err error) {
	tables, err := Tables(ctx, now, publication)
	if err != nil {
		return nil, err
	}
	before, err := shapes(ctx, now, tables)
	if err != nil {
		return nil, err
	}
	pre, post, err := schema(ctx, now, url)
	if err != nil {
		return nil, err
	}
	var t *taken
	for range snapshotTries {
		if t, err = takeRows(ctx, now, url, publication, jobs, log); !errors.Is(err, ErrChanged) {
			break
		}
		log.Debug("taking the snapshot again", "reason", err)
	}
	if err != nil {
		return nil, err
	}
	if err := t.source.defined(ctx, before); err != nil {
		return nil, errors.Join(err, t.close())
	}
	t.pre, t.post = pre, post
	return t, nil
}

// takeRows takes a snapshot and locks its tables; ErrChanged says that something slipped in between.
func takeRows(ctx context.Context, now *pgx.Conn, url, publication string, jobs int, log *slog.Logger) (_ *taken, err error) {
	t := &taken{}
	if t.Exported, err = Export(ctx, url, log); err != nil {
		return nil, err
	}
	if t.source, err = open(ctx, url, t.Exported, publication, jobs, log); err == nil {
		err = t.source.unchanged(ctx, now)
	}
	if err != nil {
		return nil, errors.Join(err, t.close())
	}
	return t, nil
}

// schema dumps both halves.
func schema(ctx context.Context, conn *pgx.Conn, url string) (pre, post []byte, err error) {
	var number string
	if err := conn.QueryRow(ctx, "show server_version_num").Scan(&number); err != nil {
		return nil, nil, fmt.Errorf("read server version: %w", postgres.Explain(err))
	}
	version, err := postgres.ParseVersion(number)
	if err != nil {
		return nil, nil, err
	}
	opts := postgres.DumpOptions{Section: postgres.PreData, ServerMajor: version.Major()}
	if pre, err = postgres.DumpSchema(ctx, url, opts); err != nil {
		return nil, nil, err
	}
	opts.Section = postgres.PostData
	post, err = postgres.DumpSchema(ctx, url, opts)
	return pre, post, err
}

// close gives the source's tables free and ends the snapshot. It may be called again.
func (t *taken) close() error {
	if t.source != nil {
		t.source.release()
	}
	return t.Exported.Close()
}
