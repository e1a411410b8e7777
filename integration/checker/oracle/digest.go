package oracle

import (
	"context"
	"fmt"
	"math/big"
	"strings"

	"github.com/jackc/pgx/v5"

	"tidemark/integration/checker/fold"
)

// Querier is a session or a transaction of one.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Digest gives every table's sum, in one statement and so in one snapshot. The session must be Connect's, or have its settings.
func Digest(ctx context.Context, q Querier, tables []fold.Table) (map[string]fold.Sum, error) {
	out := make(map[string]fold.Sum, len(tables))
	if len(tables) == 0 {
		return out, nil
	}
	parts := make([]string, len(tables))
	for i, t := range tables {
		parts[i] = fmt.Sprintf("select %d, count(*), coalesce(sum(%s), 0)::text from only %s", i, hash(t), identifier(t))
	}
	rows, err := q.Query(ctx, strings.Join(parts, " union all "), pgx.QueryExecModeExec)
	if err != nil {
		return nil, fmt.Errorf("digest tables: %w", err)
	}
	var i int
	var count int64
	var sum string
	_, err = pgx.ForEachRow(rows, []any{&i, &count, &sum}, func() error {
		h, err := modulo(sum)
		out[tables[i].String()] = fold.Sum{Rows: count, Hash: h}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("digest tables: %w", err)
	}
	return out, nil
}

// Rows gives a table's rows as fold.State.Rows does, to say which differ.
func Rows(ctx context.Context, q Querier, t fold.Table) (map[string]uint64, error) {
	key := "''::text"
	if t.Identity == fold.Keyed {
		key = text(t, t.Key...)
	}
	rows, err := q.Query(ctx, fmt.Sprintf("select %s, %s from only %s", key, hash(t), identifier(t)), pgx.QueryExecModeExec)
	if err != nil {
		return nil, fmt.Errorf("read rows of %s: %w", t, err)
	}
	out, copies := map[string]uint64{}, map[uint64]int{}
	var k string
	var h int64
	_, err = pgx.ForEachRow(rows, []any{&k, &h}, func() error {
		if t.Identity != fold.Keyed {
			k = fold.CopyKey(uint64(h), copies[uint64(h)])
			copies[uint64(h)]++
		}
		out[k] = uint64(h)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read rows of %s: %w", t, err)
	}
	return out, nil
}

func identifier(t fold.Table) string { return pgx.Identifier{t.Schema, t.Name}.Sanitize() }

// hash is fold.Hash in SQL, signed.
func hash(t fold.Table) string {
	return "('x' || substr(md5(" + text(t) + "), 1, 16))::bit(64)::bigint"
}

// text is fold.Canonical in SQL: of the given columns, or of all. A composite value whose fields are all NULL is itself not
// NULL, but IS NULL says so; IS DISTINCT FROM does not (https://www.postgresql.org/docs/current/functions-comparison.html).
func text(t fold.Table, columns ...int) string {
	if columns == nil {
		columns = make([]int, len(t.Columns))
		for i := range columns {
			columns[i] = i
		}
	}
	if len(columns) == 0 {
		return "''::text"
	}
	parts := make([]string, len(columns))
	for i, c := range columns {
		name := pgx.Identifier{t.Columns[c].Name}.Sanitize()
		parts[i] = fmt.Sprintf("case when %[1]s is not distinct from null then '-' else octet_length(concat(%[1]s)) || ':' || concat(%[1]s) end", name)
	}
	return "(" + strings.Join(parts, " || ") + ")"
}

var two64 = new(big.Int).Lsh(big.NewInt(1), 64)

// modulo takes a sum of signed hashes modulo 2⁶⁴.
func modulo(sum string) (uint64, error) {
	n, ok := new(big.Int).SetString(sum, 10)
	if !ok {
		return 0, fmt.Errorf("read the sum of hashes: it has %d characters and is no number", len(sum))
	}
	return n.Mod(n, two64).Uint64(), nil
}
