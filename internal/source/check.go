package source

import (
	"context"
	"errors"
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/jackc/pgx/v5"

	"tidemark/internal/postgres"
)

// Check inspects the source and changes nothing. An unreachable source is a finding too.
func Check(ctx context.Context, cfg Config) []Finding {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return []Finding{{Name: "configuration", Level: Fail, Text: err.Error()}}
	}
	conn, err := postgres.Connect(ctx, cfg.URL, cfg.Name+" check")
	if err != nil {
		return []Finding{{Name: "connection", Level: Fail, Text: fmt.Sprintf("connect to the source: %v", err), Fix: "check source.url, the password, and pg_hba.conf on the server"}}
	}
	defer closeSession(conn)
	findings, err := check(ctx, cfg, conn)
	if err != nil {
		findings = append(findings, Finding{Name: "inspection", Level: Fail, Text: fmt.Sprintf("inspect the source: %v", err)})
	}
	return findings
}

func check(ctx context.Context, cfg Config, conn *pgx.Conn) ([]Finding, error) {
	s, err := readServer(ctx, conn)
	if err != nil {
		return nil, err
	}
	sl, err := readSlot(ctx, conn.PgConn(), cfg.Slot)
	if err != nil {
		return nil, err
	}
	out := []Finding{checkVersion(s), checkRecovery(s), checkWALLevel(s), checkReplicationRight(s), checkSlots(s, sl.exists),
		checkSenders(s, sl.activePID != 0), checkPrepared(s), checkRetention(s), checkIdle(s), checkTLS(s)}
	out = append(out, checkSlot(cfg, s, sl))
	pub, err := readPublication(ctx, conn, s.version, cfg.Publication.Name)
	if err != nil {
		return out, err
	}
	tables, err := readTables(ctx, conn)
	if err != nil {
		return out, err
	}
	chosen := choose(cfg.Publication, tables)
	out = append(out, checkPublicationForm(pub, cfg.Publication.Name)...)
	out = append(out, checkDrift(pub, compare(pub, chosen.listed), cfg.Publication.Name)...)
	out = append(out, checkIdentities(chosen)...)
	out = append(out, checkUnprotected(chosen)...)
	hidden, err := checkSequences(ctx, conn, cfg)
	return append(out, hidden...), err
}

func checkPrepared(s server) Finding {
	if s.prepared == 0 {
		return Finding{Name: "prepared transactions", Level: OK, Text: "prepared transactions are off"}
	}
	return Finding{Name: "prepared transactions", Level: Warn,
		Text: fmt.Sprintf("max_prepared_transactions is %d: a prepared transaction is captured when it commits, and a forgotten one holds WAL and the creation of slots", s.prepared)}
}

func checkRetention(s server) Finding {
	if s.keepSize != "-1" {
		return Finding{Name: "WAL retention", Level: OK, Text: "max_slot_wal_keep_size is " + s.keepSize + ": beyond it the slot is lost and the copies must be rebuilt"}
	}
	return Finding{Name: "WAL retention", Level: Warn,
		Text: "max_slot_wal_keep_size is not set: while the service is down, retained WAL can fill the primary's disk",
		Fix:  "ALTER SYSTEM SET max_slot_wal_keep_size = '50GB'; SELECT pg_reload_conf();"}
}

func checkIdle(s server) Finding {
	if s.idleTimeout == "0" {
		return Finding{Name: "idle slot timeout", Level: OK, Text: "the slot is not invalidated for being idle"}
	}
	return Finding{Name: "idle slot timeout", Level: Warn,
		Text: "idle_replication_slot_timeout is " + s.idleTimeout + ": the slot is lost when the service is down for that long",
		Fix:  "ALTER SYSTEM SET idle_replication_slot_timeout = 0; SELECT pg_reload_conf();"}
}

func checkTLS(s server) Finding {
	if s.tls {
		return Finding{Name: "TLS", Level: OK, Text: "the connection is encrypted"}
	}
	return Finding{Name: "TLS", Level: Warn, Text: "the connection is not encrypted", Fix: "use sslmode=verify-full in source.url, unless the server is on this machine"}
}

func checkSlot(cfg Config, s server, sl slot) Finding {
	if err := sl.fit(cfg, s.database); err != nil {
		if r, ok := errors.AsType[Refusal](err); ok {
			return Finding{Name: "slot", Level: Fail, Text: r.What, Fix: r.Fix}
		}
		return Finding{Name: "slot", Level: Fail, Text: err.Error()}
	}
	f := Finding{Name: "slot", Level: OK, Text: fmt.Sprintf("slot %q keeps %s of WAL", cfg.Slot, humanize.IBytes(uint64(max(0, sl.retained))))}
	switch {
	case cfg.WALBudget > 0 && sl.retained >= cfg.WALBudget:
		f.Level = Fail
	case cfg.WALBudget > 0 && sl.retained >= cfg.WALBudget/10*8, sl.walStatus == "unreserved":
		f.Level = Warn
	}
	if f.Level != OK {
		f.Text += fmt.Sprintf(" (wal_status %s), of a budget of %s", sl.walStatus, humanize.IBytes(uint64(cfg.WALBudget)))
		f.Fix = "start the service, or find out why it does not keep up"
	}
	return f
}

// checkSequences names sequences beside published tables whose state we may not read.
func checkSequences(ctx context.Context, conn *pgx.Conn, cfg Config) ([]Finding, error) {
	rows, err := conn.Query(ctx, `select n.nspname || '.' || c.relname
from pg_sequence s join pg_class c on c.oid = s.seqrelid join pg_namespace n on n.oid = c.relnamespace
where n.nspname in (select schemaname from pg_publication_tables where pubname = $1)
  and not has_sequence_privilege(s.seqrelid, 'SELECT,USAGE') order by 1`, cfg.Publication.Name)
	if err != nil {
		return nil, fmt.Errorf("list sequences: %w", postgres.Explain(err))
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list sequences: %w", postgres.Explain(err))
	}
	var out []Finding
	for _, name := range names {
		out = append(out, Finding{Name: "sequences", Level: Warn, Text: fmt.Sprintf("our role may not read sequence %s: its state is not protected", name),
			Fix: "GRANT SELECT ON SEQUENCE … TO our role"})
	}
	return out, nil
}
