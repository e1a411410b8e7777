package apply

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"tidemark/internal/position"
	"tidemark/internal/postgres"
)

// Execer runs a statement: a pgx connection, pool or transaction.
type Execer interface {
	Exec(ctx context.Context, sql string, arguments ...any) (pgconn.CommandTag, error)
}

// SetProgress writes that a target holds the source up to lsn, whose commit time is t (zero: unknown). Whoever seeds a target calls it
// in the transaction that completes the copy, after Migrate.
func SetProgress(ctx context.Context, db Execer, stream string, lsn position.LSN, t position.Time) error {
	_, err := db.Exec(ctx, `insert into tidemark.progress (stream, end_lsn, commit_time) values ($1, $2::text::pg_lsn, $3::text::timestamptz)
		on conflict (stream) do update set end_lsn = excluded.end_lsn, commit_time = excluded.commit_time, seeded_at = now(), applied_at = now()`,
		stream, lsn.String(), timeText(t))
	if err != nil {
		return fmt.Errorf("write progress: %w", postgres.Explain(err))
	}
	return nil
}

func timeText(t position.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := t.String()
	return &s
}

// Position reads the end LSN up to which the target holds the source. seeded is false when it holds no copy yet. It must
// not be called between Begin and Flush.
func (a *Applier) Position(ctx context.Context) (lsn position.LSN, seeded bool, err error) {
	if err := a.usable(); err != nil {
		return 0, false, err
	}
	if a.open || a.inside {
		return 0, false, a.fail(errors.New("read progress: a transaction is open"))
	}
	if err := a.rest(ctx); err != nil {
		return 0, false, err
	}
	var text string
	err = a.conn.QueryRow(ctx, "select end_lsn::text from tidemark.progress where stream = $1", a.cfg.Stream).Scan(&text)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, false, a.otherStream(ctx)
	}
	if err != nil {
		return 0, false, a.fail(fmt.Errorf("read progress: %w", postgres.Explain(err)))
	}
	if lsn, err = position.ParseLSN(text); err != nil {
		return 0, false, a.fail(fmt.Errorf("read progress: %w", err))
	}
	a.position, a.last, a.seeded = lsn, lsn, true
	return lsn, true, nil
}

// otherStream tells an empty target from one that belongs to another source.
func (a *Applier) otherStream(ctx context.Context) error {
	var have string
	err := a.conn.QueryRow(ctx, "select stream from tidemark.progress order by stream limit 1").Scan(&have)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return a.fail(fmt.Errorf("read progress: %w", postgres.Explain(err)))
	}
	return a.fail(&StreamError{Want: a.cfg.Stream, Have: have})
}

const moveProgress = `update tidemark.progress set end_lsn = $1::pg_lsn, commit_time = $2::timestamptz, applied_at = now()
	where stream = $3 and end_lsn = $4::pg_lsn`

// sendProgress queues the guarded move of the progress row to the last ended transaction.
func (a *Applier) sendProgress() {
	when := []byte(nil)
	if s := timeText(a.lastTime); s != nil {
		when = []byte(*s)
	}
	params := [][]byte{[]byte(a.last.String()), when, []byte(a.cfg.Stream), []byte(a.position.String())}
	a.pipe.SendQueryParams(moveProgress, params, []uint32{oidText, oidText, oidText, oidText}, nil, nil)
	a.expect(step{want: 1, guard: true})
}
