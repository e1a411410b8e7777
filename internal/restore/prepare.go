package restore

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"tidemark/internal/apply"
	"tidemark/internal/change"
	"tidemark/internal/postgres"
)

// ErrNotEmpty says that the target holds something already.
var ErrNotEmpty = errors.New("target is not empty")

// system are the schemas that are nobody's data: the system's and ours.
const system = `(n.nspname like 'pg\_%' or n.nspname in ('information_schema', '` + change.Own + `'))`

// checkTarget refuses the source itself, a server that takes no writes, and a database that cannot hold the source's text
// or holds anything already.
func (r *restore) checkTarget(ctx context.Context) error {
	var systemID, database, encoding string
	var recovering bool
	var first *string
	err := r.conn.QueryRow(ctx, `select (select system_identifier::text from pg_control_system()), current_database()::text,
  pg_is_in_recovery(), current_setting('server_encoding'),
  (select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
   where not `+system+` and c.relpersistence <> 't'
     and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
   order by 1 limit 1)`).Scan(&systemID, &database, &recovering, &encoding, &first)
	base := r.plan.Base
	switch {
	case err != nil:
		return fmt.Errorf("look at target: %w", postgres.Explain(err))
	case systemID == base.SystemID && database == base.Database:
		return fmt.Errorf("look at target: it is the source itself; restore into another database")
	case recovering:
		return fmt.Errorf("look at target: the server is in recovery and takes no writes")
	case encoding != "UTF8" && encoding != base.Encoding:
		return fmt.Errorf("look at target: its encoding is %s, the source's is %s: create the database with that encoding or UTF8", encoding, base.Encoding)
	case first != nil && !r.opts.Force:
		return fmt.Errorf("%w: it has %s; with --force everything in it is dropped first", ErrNotEmpty, *first)
	}
	return nil
}

// empty keeps other appliers out, takes back what the progress table says, and drops what Force allows to drop.
func (r *restore) empty(ctx context.Context) (err error) {
	r.applier, err = apply.Open(ctx, apply.Config{URL: r.url, Stream: r.stream(), Name: application, LockWait: lockWait}, r.log)
	if err != nil {
		return fmt.Errorf("prepare target: %w", err)
	}
	var stream string
	err = r.conn.QueryRow(ctx, "select stream from tidemark.progress order by 1 limit 1").Scan(&stream)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
	case err != nil:
		return fmt.Errorf("read progress of target: %w", postgres.Explain(err))
	case !r.opts.Force:
		return fmt.Errorf("%w: it is a copy of %s already; with --force it is made anew", ErrNotEmpty, stream)
	}
	if !r.opts.Force {
		return nil
	}
	if _, err := r.conn.Exec(ctx, "delete from tidemark.progress"); err != nil {
		return fmt.Errorf("delete progress of target: %w", postgres.Explain(err))
	}
	return r.drop(ctx)
}

// drop removes all schemas but ours and the system's, and makes an empty public.
func (r *restore) drop(ctx context.Context) error {
	rows, err := r.conn.Query(ctx, "select n.nspname from pg_namespace n where not "+system+" order by 1")
	if err != nil {
		return fmt.Errorf("list schemas of target: %w", postgres.Explain(err))
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("list schemas of target: %w", postgres.Explain(err))
	}
	for _, name := range names {
		if _, err := r.conn.Exec(ctx, "drop schema if exists "+postgres.Ident(name)+" cascade"); err != nil {
			return fmt.Errorf("drop schema %s of target: %w", name, postgres.Explain(err))
		}
	}
	if _, err := r.conn.Exec(ctx, "create schema public; grant usage on schema public to public"); err != nil {
		return fmt.Errorf("make schema public on target: %w", postgres.Explain(err))
	}
	return nil
}
