package snapshot

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"tidemark/internal/change"
	"tidemark/internal/postgres"
)

// ErrNotEmpty says that the target holds something already.
var ErrNotEmpty = errors.New("target is not empty")

// ownSchemas are the schemas that are nobody's data: the system's and ours.
const ownSchemas = `(n.nspname like 'pg\_%' or n.nspname in ('information_schema', '` + change.Own + `'))`

// checkTarget refuses a target that is the source itself, that takes no writes, or that holds anything, unless force is set.
func checkTarget(ctx context.Context, source, target *pgx.Conn, force bool) error {
	here, err := identityOf(ctx, source)
	if err != nil {
		return fmt.Errorf("look at source: %w", err)
	}
	there, err := identityOf(ctx, target)
	if err != nil {
		return fmt.Errorf("look at target: %w", err)
	}
	if here == there {
		return fmt.Errorf("look at target: it is the source itself; give the standby another database")
	}
	var recovering bool
	var first *string
	err = target.QueryRow(ctx, `select pg_is_in_recovery(), (select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where not `+ownSchemas+` and c.relpersistence <> 't'
    and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
  order by 1 limit 1)`).Scan(&recovering, &first)
	if err != nil {
		return fmt.Errorf("look at target: %w", postgres.Explain(err))
	}
	if recovering {
		return fmt.Errorf("look at target: the server is in recovery and takes no writes")
	}
	if first != nil && !force {
		return fmt.Errorf("%w: it has %s; with --force everything in it is dropped first", ErrNotEmpty, *first)
	}
	return nil
}

// identity is a database of a running server: two servers with one system identifier (a physical copy) did not start
// in the same microsecond.
type identity struct {
	system   int64
	database string
	started  time.Time
}

func identityOf(ctx context.Context, conn *pgx.Conn) (identity, error) {
	var id identity
	err := conn.QueryRow(ctx, "select (select system_identifier from pg_control_system()), current_database()::text, pg_postmaster_start_time()").
		Scan(&id.system, &id.database, &id.started)
	id.started = id.started.UTC()
	return id, postgres.Explain(err)
}

// unseed takes back the word that the target holds a copy, before anything of the copy is touched. It refuses a target
// that holds one unless force is set. The schema tidemark exists.
func unseed(ctx context.Context, target *pgx.Conn, force bool) error {
	var stream string
	err := target.QueryRow(ctx, "select stream from tidemark.progress order by 1 limit 1").Scan(&stream)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read progress of target: %w", postgres.Explain(err))
	}
	if !force {
		return fmt.Errorf("%w: it is a standby of %s already; with --force it is made anew", ErrNotEmpty, stream)
	}
	if _, err := target.Exec(ctx, "delete from tidemark.progress"); err != nil {
		return fmt.Errorf("delete progress of target: %w", postgres.Explain(err))
	}
	return nil
}

// clear drops all schemas but ours and the system's, and makes an empty public.
func clear(ctx context.Context, target *pgx.Conn) error {
	rows, err := target.Query(ctx, "select n.nspname from pg_namespace n where not "+ownSchemas+" order by 1")
	if err != nil {
		return fmt.Errorf("list schemas of target: %w", postgres.Explain(err))
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("list schemas of target: %w", postgres.Explain(err))
	}
	for _, name := range names {
		if _, err := target.Exec(ctx, "drop schema if exists "+postgres.Ident(name)+" cascade"); err != nil {
			return fmt.Errorf("drop schema %s of target: %w", name, postgres.Explain(err))
		}
	}
	if _, err := target.Exec(ctx, "create schema public; grant usage on schema public to public"); err != nil {
		return fmt.Errorf("make schema public on target: %w", postgres.Explain(err))
	}
	return nil
}
