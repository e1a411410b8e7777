package apply

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"tidemark/internal/change"
	"tidemark/internal/position"
)

// window bounds what is sent without an answer, in statements and bytes; half of it is kept under way while the other half's answers are read.
const (
	windowSteps = 256
	windowBytes = 256 << 10
)

// step is one request that was sent, and what its answer must be.
type step struct {
	table   string
	grant   string    // SQL that gives the rights for it, if they should be missing
	op      change.Op // 0 for our own statements
	commit  position.LSN
	ordinal uint32
	prepare bool   // a statement is prepared: no row count
	control string // BEGIN, COMMIT or ROLLBACK: the answer's tag must be this
	guard   bool   // the progress row
	unique  string // a constraint that is checked: no row may be found
	any     bool   // any number of rows
	none    func() // called when no row was affected and that is allowed
	want    int64  // rows affected
}

// pipeline sends requests ahead of the answers to earlier ones.
type pipeline struct {
	// ctx lives as long as the session: ending it breaks the connection, which is how a caller's context gets through.
	ctx    context.Context
	cancel context.CancelFunc
	pipe   *pgconn.Pipeline
	steps  []step
	head   int // steps[head:] wait for their answers
	bytes  int // sent since the last flush request
}

func (a *Applier) expect(s step) { a.steps = append(a.steps, s) }

// start opens the pipeline and a target transaction, if they are not open.
func (a *Applier) start() {
	if a.pipe == nil {
		a.pipe = a.conn.PgConn().StartPipeline(a.ctx)
	}
	if !a.open {
		a.sendControl("begin isolation level read committed read write")
		a.open = true
	}
}

func (a *Applier) sendControl(sql string) {
	a.pipe.SendQueryParams(sql, nil, nil, nil, nil)
	tag := map[byte]string{'b': "BEGIN", 'c': "COMMIT", 'r': "ROLLBACK"}[sql[0]]
	a.expect(step{control: tag})
}

// sent counts what was queued for a row and reads answers when the window is full.
func (a *Applier) sent(ctx context.Context, bytes int) error {
	a.bytes += bytes
	if len(a.steps)-a.head < windowSteps && a.bytes < windowBytes {
		return nil
	}
	return a.drain(ctx, windowSteps/2)
}

// drain sends all that is queued and reads answers until at most rest are outstanding. With rest 0 it ends the pipeline's
// round, so that the server has nothing left to say.
func (a *Applier) drain(ctx context.Context, rest int) error {
	if err := a.usable(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return a.failDrain(ctx, ctx.Err())
	}
	if a.pipe == nil {
		return nil
	}
	stop := context.AfterFunc(ctx, a.cancel)
	defer stop()
	if err := a.push(rest == 0); err != nil {
		return a.failDrain(ctx, fmt.Errorf("send to target: %w", err))
	}
	for len(a.steps)-a.head > rest {
		if err := a.answer(a.steps[a.head]); err != nil {
			return a.failDrain(ctx, err)
		}
		a.head++
	}
	if rest == 0 {
		if _, err := a.pipe.GetResults(); err != nil { // the answer to the sync
			return a.failDrain(ctx, fmt.Errorf("apply to target: %w", err))
		}
	}
	a.steps, a.head = append(a.steps[:0], a.steps[a.head:]...), 0
	return nil
}

// failDrain says that the caller gave up, where that is the reason.
func (a *Applier) failDrain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = fmt.Errorf("apply to target: %w", ctx.Err())
	}
	return a.fail(err)
}

func (a *Applier) push(sync bool) error {
	a.bytes = 0
	if sync {
		return a.pipe.Sync()
	}
	a.pipe.SendFlushRequest()
	return a.pipe.Flush()
}

// answer reads the answer to a step and judges it.
func (a *Applier) answer(s step) error {
	results, err := a.pipe.GetResults()
	if err != nil {
		return a.explain(s, err)
	}
	reader, ok := results.(*pgconn.ResultReader)
	if s.prepare || !ok {
		if s.prepare != !ok {
			return errors.New("apply to target: answers are out of step with requests")
		}
		return nil
	}
	tag, err := reader.Close()
	if err != nil {
		return a.explain(s, err)
	}
	return s.judge(tag)
}

func (s step) judge(tag pgconn.CommandTag) error {
	n := tag.RowsAffected()
	switch {
	case s.control != "":
		if tag.String() != s.control {
			return fmt.Errorf("apply to target: %s was answered by %s", s.control, tag)
		}
	case s.any:
		if n == 0 && s.none != nil {
			s.none()
		}
	case n == s.want:
	case s.guard:
		return ErrFenced
	case s.unique != "":
		return fmt.Errorf("check constraint %q of %s: %w: two rows violate it", s.unique, s.table, ErrDiverged)
	default:
		return &RowError{
			Table: s.table, Op: s.op, Commit: s.commit, Ordinal: s.ordinal,
			Err: fmt.Errorf("%w: %d rows were affected, not one", ErrDiverged, n),
		}
	}
	return nil
}

// rest ends the pipeline, so that the connection can be used for queries. An open transaction stays open.
func (a *Applier) rest(ctx context.Context) error {
	if a.pipe == nil {
		return nil
	}
	if err := a.drain(ctx, 0); err != nil {
		return err
	}
	err := a.pipe.Close()
	a.pipe = nil
	if err != nil {
		return a.fail(fmt.Errorf("apply to target: %w", err))
	}
	return nil
}
