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
	return r.fed(ctx)
}

// feeds lists the columns of whole numbers that a sequence feeds, as identity, as serial or by a default.
const feeds = `
select format('%I.%I', sn.nspname, s.relname), format('%I.%I', tn.nspname, t.relname), format('%I', a.attname), q.seqincrement > 0
from (
	select objid as seq, refobjid as rel, refobjsubid as num from pg_depend
	where classid = 'pg_class'::regclass and refclassid = 'pg_class'::regclass and refobjsubid > 0 and deptype in ('a', 'i')
	union
	select d.refobjid, f.adrelid, f.adnum from pg_depend d join pg_attrdef f on f.oid = d.objid
	where d.classid = 'pg_attrdef'::regclass and d.refclassid = 'pg_class'::regclass
) u
join pg_sequence q on q.seqrelid = u.seq join pg_class s on s.oid = u.seq join pg_namespace sn on sn.oid = s.relnamespace
join pg_class t on t.oid = u.rel join pg_namespace tn on tn.oid = t.relnamespace
join pg_attribute a on a.attrelid = u.rel and a.attnum = u.num and not a.attisdropped
where t.relkind in ('r', 'p') and a.atttypid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype)
order by 1, 2, 3`

type feed struct {
	sequence, table, column string
	up                      bool
}

// fed puts each sequence that feeds a column at least at the column's furthest value. The heartbeat looks at sequences only
// now and then, and rows that came between two looks may hold values far behind the margin.
func (r *restore) fed(ctx context.Context) error {
	rows, err := r.conn.Query(ctx, feeds)
	if err != nil {
		return fmt.Errorf("list columns with sequences: %w", postgres.Explain(err))
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (f feed, err error) {
		err = row.Scan(&f.sequence, &f.table, &f.column, &f.up)
		return f, err
	})
	if err != nil {
		return fmt.Errorf("list columns with sequences: %w", postgres.Explain(err))
	}
	for _, f := range list {
		if _, err := r.conn.Exec(ctx, f.sql(), f.sequence); err != nil {
			return fmt.Errorf("set sequence %s behind column %s of %s: %w", f.sequence, f.column, f.table, postgres.Explain(err))
		}
	}
	return nil
}

// sql moves the sequence $1 to the column's furthest value within its bounds, if it is not there yet.
func (f feed) sql() string {
	furthest, beyond := "max", ">"
	if !f.up {
		furthest, beyond = "min", "<"
	}
	return fmt.Sprintf(`
select setval(q.seqrelid::regclass, v.value::bigint)
from pg_sequence q, lateral (select %s(%s)::numeric as value from %s where %s between q.seqmin and q.seqmax) v
where q.seqrelid = $1::text::regclass and v.value is not null
	and (pg_sequence_last_value(q.seqrelid) is null or v.value %s pg_sequence_last_value(q.seqrelid))`,
		furthest, f.column, f.table, f.column, beyond)
}
