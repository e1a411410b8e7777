package check

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"tidemark/internal/position"

	"tidemark/integration/checker/fold"
)

// compare compares place, time and every table with the timeline.
func (s *Standby) compare(ctx context.Context, tx pgx.Tx, at progress) error {
	have, err := s.Digest(ctx, tx, s.Tables)
	if err != nil {
		return fmt.Errorf("digest the standby: %w", err)
	}
	if err := s.Timeline.Wait(ctx, at.lsn); err != nil {
		return err
	}
	if wrong := s.place(at); wrong != "" {
		return Violated(standbyCheck, at.lsn, "%s", wrong)
	}
	want := s.Timeline.At(at.lsn)
	for _, t := range s.Tables {
		name := t.String()
		if have[name] == want[name] {
			continue
		}
		var keys string
		if rows, err := s.Rows(ctx, tx, t); err != nil {
			keys = fmt.Sprintf("keys are not known: %v", err)
		} else {
			keys = differences(s.Truth, name, at.lsn, rows)
		}
		return Violated(standbyCheck, at.lsn, "%s has %s: %s", name, unlike(have[name], want[name]), keys)
	}
	return nil
}

// place says what is wrong with the progress row itself. It may stand at a frontier, where nothing ended, or where a transaction ended of
// which no subscriber hears; its time is then no commit time.
func (s *Standby) place(at progress) string {
	entry, ok := s.Timeline.Find(at.lsn)
	if ok && entry.Published && at.commit != nil && at.commit.UnixMicro() != entry.Commit.UnixMicro() {
		return fmt.Sprintf("the progress row's commit time is not that of transaction %s (xid %d)", at.lsn, entry.XID)
	}
	return ""
}

const listGenerated = `select n.nspname, c.relname, a.attname, pg_get_expr(d.adbin, d.adrelid)
from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
  join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where a.attgenerated = 's' and not a.attisdropped and c.relkind = 'r' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
order by 1, 2, a.attnum`

type generatedColumn struct{ schema, table, column, expression string }

// generated recomputes the stored generated columns, which are in no digest: nobody sends them.
func (s *Standby) generated(ctx context.Context, tx pgx.Tx, at position.LSN) error {
	rows, err := tx.Query(ctx, listGenerated)
	if err != nil {
		return fmt.Errorf("list generated columns: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (g generatedColumn, err error) {
		return g, row.Scan(&g.schema, &g.table, &g.column, &g.expression)
	})
	if err != nil {
		return fmt.Errorf("list generated columns: %w", err)
	}
	for _, g := range list {
		t := fold.Table{Schema: g.schema, Name: g.table}
		var n int
		query := fmt.Sprintf("select count(*) from only %s where (%s)::text is distinct from (%s)::text", identifier(t), pgx.Identifier{g.column}.Sanitize(), g.expression)
		if err := tx.QueryRow(ctx, query).Scan(&n); err != nil {
			return fmt.Errorf("recompute column %q of %s: %w", g.column, t, err)
		}
		if n > 0 {
			return Violated(standbyCheck, at, "%d rows of %s have a generated column %q that is not what its expression gives", n, t, g.column)
		}
	}
	return nil
}
