package snapshot

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"tidemark/internal/archive"
	"tidemark/internal/change"
	"tidemark/internal/postgres"
)

// sequences reads the value of every sequence of the application. Sequences are not transactional: the values are those of now,
// at least those at the snapshot.
func sequences(ctx context.Context, conn *pgx.Conn) ([]archive.Sequence, error) {
	rows, err := conn.Query(ctx, `select n.nspname, c.relname, s.seqincrement
from pg_sequence s join pg_class c on c.oid = s.seqrelid join pg_namespace n on n.oid = c.relnamespace
where n.nspname <> $1 and c.relpersistence <> 't'
  and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
order by 1, 2`, change.Own)
	if err != nil {
		return nil, fmt.Errorf("list sequences: %w", postgres.Explain(err))
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (archive.Sequence, error) {
		var s archive.Sequence
		err := row.Scan(&s.Schema, &s.Name, &s.Increment)
		return s, err
	})
	if err != nil {
		return nil, fmt.Errorf("list sequences: %w", postgres.Explain(err))
	}
	const perQuery = 200
	for part := range slices.Chunk(list, perQuery) {
		if err := readValues(ctx, conn, part); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func readValues(ctx context.Context, conn *pgx.Conn, list []archive.Sequence) error {
	queries := make([]string, len(list))
	for i, s := range list {
		queries[i] = fmt.Sprintf("select %d as i, last_value, is_called from %s", i, postgres.Ident(s.Schema, s.Name))
	}
	rows, err := conn.Query(ctx, strings.Join(queries, " union all ")+" order by 1")
	if err != nil {
		return fmt.Errorf("read sequences: %w", postgres.Explain(err))
	}
	var i int
	var value int64
	var called bool
	_, err = pgx.ForEachRow(rows, []any{&i, &value, &called}, func() error {
		list[i].LastValue, list[i].IsCalled = value, called
		return nil
	})
	if err != nil {
		return fmt.Errorf("read sequences: %w", postgres.Explain(err))
	}
	return nil
}

// setSequence puts a target's sequence 32 increments ahead of the value that was read, in the sequence's direction and
// within its bounds: PostgreSQL itself keeps up to 32 values ahead in its WAL, so that after a crash a sequence may go on as
// far ahead. A sequence that gave no value yet is left at its beginning. Arithmetic is numeric: it cannot overflow.
const setSequence = `select setval(s.seqrelid::regclass,
  case when $4 then least(greatest($3::numeric + 32 * s.seqincrement, s.seqmin), s.seqmax)::bigint else $3::bigint end, $4)
from pg_sequence s join pg_class c on c.oid = s.seqrelid join pg_namespace n on n.oid = c.relnamespace
where n.nspname = $1 and c.relname = $2`

func setSequences(ctx context.Context, tx pgx.Tx, list []archive.Sequence) error {
	batch := &pgx.Batch{}
	for _, s := range list {
		batch.Queue(setSequence, s.Schema, s.Name, s.LastValue, s.IsCalled)
	}
	results := tx.SendBatch(ctx, batch)
	for _, s := range list {
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
