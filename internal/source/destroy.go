package source

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"tidemark/internal/postgres"
)

// Destroy removes the slot, the publication and the schema tidemark, whatever of them exists. A slot in use is refused:
// the service must be stopped first.
func Destroy(ctx context.Context, cfg Config) error {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return err
	}
	conn, err := postgres.Connect(ctx, cfg.URL, cfg.Name+" destroy")
	if err != nil {
		return fmt.Errorf("connect to the source: %w", err)
	}
	defer closeSession(conn)
	if err := dropSlot(ctx, cfg, conn); err != nil {
		return err
	}
	for _, sql := range []string{"drop publication if exists " + postgres.Ident(cfg.Publication.Name), "drop schema if exists tidemark cascade"} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, postgres.Explain(err))
		}
	}
	return nil
}

func dropSlot(ctx context.Context, cfg Config, conn *pgx.Conn) error {
	s, err := readSlot(ctx, conn.PgConn(), cfg.Slot)
	if err != nil || !s.exists {
		return err
	}
	if s.activePID != 0 {
		return refuse("stop the service first", "replication slot %q is in use by server process %d", cfg.Slot, s.activePID)
	}
	if _, err := conn.Exec(ctx, "select pg_drop_replication_slot($1)", cfg.Slot); err != nil {
		return fmt.Errorf("drop slot %q: %w", cfg.Slot, postgres.Explain(err))
	}
	return nil
}
