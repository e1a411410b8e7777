package restore

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"tidemark/internal/postgres"
)

// populated lists the materialized views that hold rows, each behind those that it reads, directly or through views. The
// bound on depth ends a circle of views, which PostgreSQL lets one make.
const populated = `
with recursive uses as (
	select distinct r.ev_class as view, d.refobjid as used from pg_rewrite r join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
	where d.refclassid = 'pg_class'::regclass and d.refobjid <> r.ev_class
), deep as (
	select oid, 0 as depth from pg_class where relkind = 'm'
	union
	select u.view, p.depth + 1 from deep p join uses u on u.used = p.oid where p.depth < 100
)
select format('%I.%I', n.nspname, c.relname) from deep p join pg_class c on c.oid = p.oid join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'm' and c.relispopulated and n.nspname <> 'pg_catalog'
group by 1 order by max(p.depth), 1`

// views refreshes materialized views: the schema's second half filled them from the base, and no change of theirs is ever
// replayed. One that cannot be refreshed is as it was at the base, and the report names it: the rows are restored all the same.
func (r *restore) views(ctx context.Context) error {
	if r.report.Transactions == 0 {
		return nil
	}
	rows, err := r.conn.Query(ctx, populated)
	if err != nil {
		return fmt.Errorf("list materialized views: %w", postgres.Explain(err))
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("list materialized views: %w", postgres.Explain(err))
	}
	for _, name := range names {
		if _, err := r.conn.Exec(ctx, "refresh materialized view "+name); err != nil {
			if ctx.Err() != nil || r.conn.IsClosed() {
				return fmt.Errorf("refresh materialized view %s: %w", name, postgres.Explain(err))
			}
			r.log.Warn("a materialized view is as it was at the base", "view", name, "error", postgres.Explain(err))
			r.report.StaleViews = append(r.report.StaleViews, name)
		}
	}
	return nil
}
