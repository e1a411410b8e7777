package restore

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"tidemark/internal/postgres"
)

// setSequence puts a sequence 32 increments ahead of the base's value, in its direction and within its bounds, unless replay has
// put it further. PostgreSQL itself keeps up to 32 values ahead in its WAL, so that after a crash a sequence may go
// on as far ahead. A sequence that gave no value when the base was taken stays at its beginning. Arithmetic is numeric: it
// cannot overflow.
const setSequence = `
select setval(s.oid::regclass, s.goal::bigint, $4)
from (
	select q.seqrelid as oid, q.seqincrement as step, pg_sequence_last_value(q.seqrelid) as now,
		case when $4 then least(greatest($3::numeric + 32 * q.seqincrement, q.seqmin), q.seqmax) else $3::numeric end as goal
	from pg_sequence q join pg_class c on c.oid = q.seqrelid join pg_namespace n on n.oid = c.relnamespace
	where n.nspname = $1::name and c.relname = $2::name
) s
where s.now is null or $4 and (s.goal - s.now) * sign(s.step) > 0`

func (r *restore) sequences(ctx context.Context) error {
	batch := &pgx.Batch{}
	for _, s := range r.plan.Base.Sequences {
		batch.Queue(setSequence, s.Schema, s.Name, s.LastValue, s.IsCalled)
	}
	results := r.conn.SendBatch(ctx, batch)
	for _, s := range r.plan.Base.Sequences {
		if _, err := results.Exec(); err != nil {
			_ = results.Close() // the first error is the one
			return fmt.Errorf("set sequence %s.%s: %w", s.Schema, s.Name, postgres.Explain(err))
		}
	}
	if err := results.Close(); err != nil {
		return fmt.Errorf("set sequences: %w", postgres.Explain(err))
	}
	return nil
}
