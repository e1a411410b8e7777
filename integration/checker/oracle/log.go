package oracle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"tidemark/internal/position"

	"tidemark/integration/checker/fold"
)

// LogConfig says what a Log follows. URL, Tables, Timeline and Log are required.
type LogConfig struct {
	URL      string // of the primary, as a role that may replicate, not through a proxy
	Slot     string // default checker_reference
	Tables   []fold.Table
	Timeline *fold.Timeline
	// History is a file that is made anew, in which Log keeps what Rows needs. Without it Rows has no answer.
	History string
	Log     *slog.Logger
}

// Log is the reference log. See the package comment.
type Log struct {
	cfg     LogConfig
	state   *fold.State
	history *history
	last    position.LSN // end of the last transaction that was added
	current position.LSN // end of the transaction that is being folded

	transactions, repeated, connections atomic.Int64
}

const retryAfter = 100 * time.Millisecond

// NewLog makes the slot, which waits until no transaction is open. All tables must be empty, and nobody may write before it returns.
func NewLog(ctx context.Context, cfg LogConfig) (*Log, error) {
	if cfg.Slot == "" {
		cfg.Slot = "checker_reference"
	}
	if cfg.URL == "" || cfg.Timeline == nil || cfg.Log == nil || len(cfg.Tables) == 0 {
		return nil, errors.New("URL, tables, timeline and log are required")
	}
	l := &Log{cfg: cfg, state: fold.NewState(cfg.Tables)}
	if err := l.makeSlot(ctx); err != nil {
		return nil, err
	}
	if cfg.History != "" {
		var err error
		if l.history, err = newHistory(cfg.History, cfg.Tables); err != nil {
			return nil, err
		}
		l.state.Watch(func(step fold.Step, table, key string, hash uint64) {
			l.history.add(l.current, step, table, key, hash)
		})
	}
	return l, nil
}

func (l *Log) makeSlot(ctx context.Context) error {
	conn, err := Connect(ctx, l.cfg.URL)
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	if _, err := conn.Exec(ctx, "select pg_create_logical_replication_slot($1, 'test_decoding')", l.cfg.Slot); err != nil {
		return fmt.Errorf("make the reference slot: %w", err)
	}
	sums, err := Digest(ctx, conn, l.cfg.Tables)
	if err != nil {
		return err
	}
	for table, sum := range sums {
		if sum.Rows != 0 {
			return fmt.Errorf("begin the reference log: table %s has %d rows", table, sum.Rows)
		}
	}
	return nil
}

// Run follows the primary until ctx ends, and then returns nil. It survives a primary that is gone for a while. An *Error says that
// what came cannot be right. Call it once.
func (l *Log) Run(ctx context.Context) error {
	for {
		err := l.follow(ctx)
		var wrong *Error
		switch {
		case errors.As(err, &wrong):
			return err
		case ctx.Err() != nil:
			return nil
		case lost(err):
			return &Error{At: l.last, Err: err}
		}
		l.cfg.Log.Debug("reference log connects again", "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryAfter):
		}
	}
}

// Counts says how many transactions were added and how many came again, and how many connections it took. It may be called at
// any time from any goroutine.
func (l *Log) Counts() map[string]int {
	return map[string]int{
		"reference transactions": int(l.transactions.Load()), "reference transactions sent again": int(l.repeated.Load()), "reference connections": int(l.connections.Load()),
	}
}

// lost says that the slot is no more, or has lost its WAL. SQLSTATEs: https://www.postgresql.org/docs/current/errcodes-appendix.html.
func lost(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "42704" || pg.Code == "55000")
}

// add folds a transaction in. A primary that forgot what was confirmed sends transactions again.
func (l *Log) add(tx *fold.Transaction) error {
	if tx.End <= l.last {
		if e, ok := l.cfg.Timeline.Find(tx.End); !ok || e.XID != tx.XID {
			return &Error{At: tx.End, Err: fmt.Errorf("transaction %d came late or changed its place: the log is at %s", tx.XID, l.last)}
		}
		l.repeated.Add(1)
		return nil
	}
	if covered := l.cfg.Timeline.Covered(); tx.End <= covered {
		return &Error{At: tx.End, Err: fmt.Errorf("transaction %d came when everything up to %s was said to be there", tx.XID, covered)}
	}
	l.current = tx.End
	touched, err := l.state.Apply(*tx)
	if err != nil {
		return &Error{At: tx.End, Err: err}
	}
	sums := make(map[string]fold.Sum, len(touched))
	for _, table := range touched {
		sums[table] = l.state.Sum(table)
	}
	if err := l.cfg.Timeline.Add(*tx, sums); err != nil {
		return &Error{At: tx.End, Err: err}
	}
	l.last = tx.End
	l.transactions.Add(1)
	l.cfg.Timeline.Cover(tx.End)
	return nil
}

// Rows says what a table held after the transactions that end at or below a place that is covered: each row's hash by its key, as
// fold.State.Rows. It reads the whole history, and is for naming differences. It may be called at any time from any goroutine.
func (l *Log) Rows(table string, at position.LSN) (map[string]uint64, error) {
	if l.history == nil {
		return nil, errors.New("no history is kept")
	}
	for _, t := range l.cfg.Tables {
		if t.String() == table {
			return l.history.rows(t, at)
		}
	}
	return nil, fmt.Errorf("read history of %s: %w", table, fold.ErrNoTable)
}

// Close closes the history. Call it when Run has returned and nobody calls Rows any more.
func (l *Log) Close() error {
	if l.history == nil {
		return nil
	}
	return l.history.close()
}

// startCommand starts replication where the slot stands.
func startCommand(slot string) string {
	return "START_REPLICATION SLOT " + pgx.Identifier{slot}.Sanitize() + ` LOGICAL 0/0 ("include-xids" '1', "include-timestamp" '1', "skip-empty-xacts" '0')`
}
