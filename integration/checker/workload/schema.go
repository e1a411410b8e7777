package workload

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/jackc/pgx/v5"
)

//go:embed schema.sql
var schema string

// Schema makes every table of the workload, empty, in one transaction. The database must be new.
func Schema(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Exec(ctx, schema, pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("make the workload's tables: %w", explain(err))
	}
	return nil
}
