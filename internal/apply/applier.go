package apply

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"tidemark/internal/change"
	"tidemark/internal/planted"
	"tidemark/internal/position"
)

// Transaction is a source transaction that begins.
type Transaction struct {
	// Xid is the transaction's number on the source, for messages only.
	Xid uint32
	// Commit is the start LSN of its commit record, for messages only.
	Commit position.LSN
	// Time is its commit time on the source's clock.
	Time position.Time
}

// Applier applies one stream to one target over one session. One goroutine uses it. After an error every method but
// Close returns that error.
type Applier struct {
	cfg     Config
	conn    *pgx.Conn
	log     *slog.Logger
	role    string
	version int

	// position is where the target stands, last the end of the last complete source transaction, committed or not.
	position position.LSN
	last     position.LSN
	lastTime position.Time
	seeded   bool

	// open: a target transaction is open. inside: a source transaction is.
	open   bool
	inside bool
	tx     Transaction
	rows   int

	pipeline
	err     error
	targets map[*change.Relation]*target
	names   int // statements ever prepared, for their names
	key     []byte
	build   builder
}

func newApplier(cfg Config, conn *pgx.Conn, log *slog.Logger) *Applier {
	a := &Applier{cfg: cfg, conn: conn, log: log, targets: map[*change.Relation]*target{}}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	return a
}

func (a *Applier) usable() error {
	if a.err != nil {
		return a.err
	}
	return nil
}

// fail makes err the answer to all that follows. The connection is of no more use: its state is unknown.
func (a *Applier) fail(err error) error {
	if a.err == nil {
		a.err = err
		a.cancel()
		if a.pipe != nil {
			_ = a.pipe.Close() // what it says is what err says
			a.pipe = nil
		}
	}
	return a.err
}

// Begin starts a source transaction. Position must have been read, and the target must be seeded.
func (a *Applier) Begin(_ context.Context, tx Transaction) error {
	if err := a.usable(); err != nil {
		return err
	}
	if a.inside {
		return a.fail(errors.New("begin transaction: the one before has not ended"))
	}
	if !a.seeded {
		return a.fail(fmt.Errorf("begin transaction: %w", ErrNotSeeded))
	}
	a.inside, a.tx = true, tx
	return nil
}

// Row applies a change of the transaction that was begun. It may return before the target has answered: the answer's error comes from
// a later call. The row's memory is not kept.
func (a *Applier) Row(ctx context.Context, row change.Row) error {
	if err := a.usable(); err != nil {
		return err
	}
	if !a.inside {
		return a.fail(errors.New("apply row: no transaction was begun"))
	}
	a.rows++
	if planted.Is(planted.ToastNull) {
		wrongToast(&row)
	}
	switch {
	case planted.Is(planted.TruncateIgnored) && row.Op == change.Truncate:
		return nil
	case row.Op == change.Truncate:
		return a.truncate(ctx, row)
	case row.Relation.Schema == change.Own:
		return a.own(ctx, row)
	}
	t, err := a.target(ctx, row.Relation)
	if err != nil {
		return err
	}
	return a.applyRow(ctx, t, row)
}

// End completes the source transaction, which ends at end. Nothing is committed yet.
func (a *Applier) End(_ context.Context, end position.LSN, t position.Time) error {
	if err := a.usable(); err != nil {
		return err
	}
	if !a.inside {
		return a.fail(errors.New("end transaction: none was begun"))
	}
	if end <= a.last {
		return a.fail(fmt.Errorf("end transaction: it ends at %s, and the target already holds %s", end, a.last))
	}
	a.inside, a.last, a.lastTime = false, end, t
	return nil
}

// Pending gives the number of changes applied since the last commit.
func (a *Applier) Pending() int { return a.rows }

// Flush commits all complete source transactions and returns the position that the target then durably holds. While a
// source transaction is open it only hands on what is waiting, and the position stays: part of a transaction is never committed.
func (a *Applier) Flush(ctx context.Context) (position.LSN, error) {
	if err := a.usable(); err != nil {
		return 0, err
	}
	if a.inside {
		return a.position, a.drain(ctx, 0)
	}
	if a.last == a.position {
		return a.position, nil
	}
	if err := a.commit(ctx); err != nil {
		return 0, err
	}
	return a.position, nil
}

// commit makes the target transaction durable. The order matters: every row's result is known to be right, and the guard
// to have matched, before COMMIT is sent. A crash before COMMIT leaves the old position with the old rows; one after it, the
// new ones; a lost reply either, which the next Position tells.
func (a *Applier) commit(ctx context.Context) error {
	a.start()
	if err := a.sendConstraintChecks(ctx); err != nil {
		return err
	}
	if planted.Is(planted.ProgressOutside) {
		a.sendControl("commit")
		if err := a.drain(ctx, 0); err != nil {
			return err
		}
		a.sendControl("begin")
	}
	a.sendProgress()
	if err := a.drain(ctx, 0); err != nil {
		return err
	}
	a.sendControl("commit")
	if err := a.drain(ctx, 0); err != nil {
		return err
	}
	a.position, a.open, a.rows = a.last, false, 0
	return a.forget(ctx)
}

// Rollback gives up everything since the last commit, complete transactions too.
func (a *Applier) Rollback(ctx context.Context) error {
	if err := a.usable(); err != nil {
		return err
	}
	if a.open {
		a.sendControl("rollback")
		if err := a.drain(ctx, 0); err != nil {
			return err
		}
	}
	a.open, a.inside, a.rows, a.last = false, false, 0, a.position
	a.forgetConstraintChecks()
	return nil
}

// Close ends the session; what was not committed is gone. It waits no longer than ctx.
func (a *Applier) Close(ctx context.Context) error {
	if a.err == nil {
		if err := a.rest(ctx); err != nil {
			a.log.Debug("end pipeline of the target session", "error", err)
		}
	}
	_ = a.fail(errors.New("applier is closed")) // the answer to later calls
	return a.closeConn(ctx)
}

func (a *Applier) closeConn(ctx context.Context) error {
	a.cancel()
	err := a.conn.Close(ctx)
	select {
	case <-a.conn.PgConn().CleanupDone():
	case <-ctx.Done():
		err = errors.Join(err, ctx.Err())
	}
	var pe *pgconn.PgError
	if errors.As(err, &pe) || err == nil {
		return nil
	}
	return fmt.Errorf("close target session: %w", err)
}
