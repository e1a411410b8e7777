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
func take(ctx context.Context, url, publication string, jobs int, log *slog.Logger) (_ *taken, err error) {
	now, err := connect(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("connect to source: %w", err)
	}
	defer closeSession(now)
	a := attempt{url: url, publication: publication, now: now, log: log}
	if a.source, err = open(ctx, url, jobs); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			a.source.release()
		}
	}()
	var t *taken
	for range schemaTries {
		if t, err = a.withSchema(ctx); !errors.Is(err, ErrChanged) {
			return t, err
		}
		log.Info("taking schema and snapshot again", "reason", err)
	}
	return nil, err
}

// attempt is what all attempts to take a snapshot share.
type attempt struct {
	url, publication string
	now              *pgx.Conn // sees the catalogs as they are
	source           *sessions
	log              *slog.Logger
}

// withSchema dumps the schema before the snapshot: pg_dump takes locks of its own, and must not wait behind somebody who waits
// for ours. That no table was altered from before the dump until the locks makes the two fit.
func (a *attempt) withSchema(ctx context.Context) (*taken, error) {
	tables, err := Tables(ctx, a.now, a.publication)
	if err != nil {
		return nil, err
	}
	before, err := shapes(ctx, a.now, tables)
	if err != nil {
		return nil, err
	}
	pre, post, err := schema(ctx, a.now, a.url)
	if err != nil {
		return nil, err
	}
	var t *taken
	for range snapshotTries {
		if t, err = a.withRows(ctx, tables); !errors.Is(err, ErrChanged) {
			break
		}
		a.log.Debug("taking the snapshot again", "reason", err)
	}
	if err != nil {
		return nil, err
	}
	if err := t.source.defined(ctx, before); err != nil {
		return nil, errors.Join(err, a.source.leave(ctx), t.Close())
	}
	t.pre, t.post = pre, post
	return t, nil
}

// withRows takes a snapshot and locks the tables; ErrChanged says that something slipped in between. After an error no lock is
// held: whoever waits for one would keep the next attempt waiting for itself.
func (a *attempt) withRows(ctx context.Context, tables []Table) (_ *taken, err error) {
	e, err := Export(ctx, a.url, a.log)
	if err != nil {
		return nil, err
	}
	if err = a.source.enter(ctx, e, tables, a.log); err == nil {
		err = a.check(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, a.source.leave(ctx), e.Close())
	}
	return &taken{Exported: e, source: a.source}, nil
}

// check lists the snapshot's tables and compares them with those of now. It still waits for a moment only: a table that was
// made just now is not locked, and its size is read.
func (a *attempt) check(ctx context.Context) error {
	err := a.source.list(ctx, a.publication)
	if postgres.Code(err) == lockNotAvailable {
		return fmt.Errorf("%w: %w", ErrChanged, err)
	}
	if err != nil {
		return err
	}
	if err := a.source.unchanged(ctx, a.now); err != nil {
		return err
	}
	return a.source.patient(ctx)
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
	t.source.release()
	return t.Close()
}
