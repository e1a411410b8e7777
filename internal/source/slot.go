package source

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"

	"tidemark/internal/position"
	"tidemark/internal/postgres"
)

// slot is a row of pg_replication_slots.
type slot struct {
	exists             bool
	logical            bool
	plugin, database   string
	activePID          int // 0: nobody uses it
	restart, confirmed position.LSN
	walStatus          string
	invalidation       string // invalidation_reason (17 and newer), or "conflict" (16)
	twoPhase           bool
	retained, safe     int64 // safe is -1 without max_slot_wal_keep_size
}

// readSlot works on an SQL session and on a replication connection alike, because it uses the simple protocol only.
// Columns that a version lacks read as null through jsonb.
func readSlot(ctx context.Context, pc *pgconn.PgConn, name string) (slot, error) {
	row, err := readRow(ctx, pc, `select slot_type, coalesce(plugin, ''), coalesce(database, ''), coalesce(active_pid, 0),
  coalesce(restart_lsn, '0/0')::text, coalesce(confirmed_flush_lsn, '0/0')::text, coalesce(wal_status, ''),
  coalesce(to_jsonb(s)->>'invalidation_reason', case to_jsonb(s)->>'conflicting' when 'true' then 'conflict' end, ''), two_phase,
  case when pg_is_in_recovery() then 0 else coalesce(pg_wal_lsn_diff(pg_current_wal_insert_lsn(), restart_lsn), 0) end, coalesce(safe_wal_size, -1)
from pg_replication_slots s where slot_name = `+postgres.Literal(name))
	if errors.Is(err, errNoRow) {
		return slot{}, nil
	}
	if err != nil {
		return slot{}, fmt.Errorf("read slot: %w", err)
	}
	s := slot{exists: true, logical: row[0] == "logical", plugin: row[1], database: row[2], walStatus: row[6], invalidation: row[7], twoPhase: row[8] == "t"}
	var errs [5]error
	s.activePID, errs[0] = strconv.Atoi(row[3])
	s.restart, errs[1] = position.ParseLSN(row[4])
	s.confirmed, errs[2] = position.ParseLSN(row[5])
	s.retained, errs[3] = strconv.ParseInt(row[9], 10, 64)
	s.safe, errs[4] = strconv.ParseInt(row[10], 10, 64)
	return s, errors.Join(errs[:]...)
}

// fit refuses a slot that cannot serve, whatever the journal holds.
func (s slot) fit(cfg Config, database string) error {
	drop := fmt.Sprintf("SELECT pg_drop_replication_slot(%s); then tidemark init, and rebuild the copies (resync)", postgres.Literal(cfg.Slot))
	switch {
	case !s.exists:
		return refuse("run tidemark init", "replication slot %q does not exist", cfg.Slot)
	case !s.logical || s.plugin != "pgoutput":
		return refuse("choose another name in source.slot", "replication slot %q is not a logical slot of pgoutput", cfg.Slot)
	case s.database != database:
		return refuse("choose another name in source.slot", "replication slot %q belongs to database %q, not %q", cfg.Slot, s.database, database)
	case s.walStatus == "lost" || s.invalidation != "" || s.restart.IsZero():
		reason := s.invalidation
		if reason == "" {
			reason = "its WAL was removed"
		}
		return refuse(drop, "replication slot %q is lost (%s): changes after %s are not available any more", cfg.Slot, reason, s.confirmed)
	case s.twoPhase:
		return refuse(drop, "replication slot %q has two_phase set, which this version does not read", cfg.Slot)
	}
	return nil
}

var errNoRow = errors.New("no row")

// readRow runs one query by the simple protocol and gives its only row as text; a null reads as "".
func readRow(ctx context.Context, pc *pgconn.PgConn, sql string) ([]string, error) {
	results, err := pc.Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, postgres.Explain(err)
	}
	if len(results) == 0 || len(results[0].Rows) == 0 {
		return nil, errNoRow
	}
	row := make([]string, len(results[0].Rows[0]))
	for i, v := range results[0].Rows[0] {
		row[i] = string(v)
	}
	return row, nil
}

// readGeneration gives the slot's consistent point as Init wrote it down; zero when there is no such row.
func readGeneration(ctx context.Context, pc *pgconn.PgConn, name string) (position.LSN, error) {
	row, err := readRow(ctx, pc, "select coalesce(to_regclass('tidemark.slot')::text, '')")
	if err != nil || row[0] == "" {
		return 0, err
	}
	row, err = readRow(ctx, pc, "select generation::text from tidemark.slot where slot_name = "+postgres.Literal(name))
	if errors.Is(err, errNoRow) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read slot generation: %w", err)
	}
	return position.ParseLSN(row[0])
}
