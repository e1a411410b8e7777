package source

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/tern/v2/migrate"

	"tidemark/internal/position"
	"tidemark/internal/postgres"
	"tidemark/migrations"
)

// Report says what Init did and found.
type Report struct {
	// Generation is the slot's consistent point.
	Generation position.LSN
	// Statements lists the SQL that changed the publication; empty when it was right already.
	Statements []string
	// Tables is the number of tables in the publication, our own included.
	Tables int
	// SlotCreated is true when the slot was made now. With a journal from before, that is a gap, which Gate refuses.
	SlotCreated bool
	// Warnings lists what is not protected, and other findings of level Warn.
	Warnings []Finding
}

// Init prepares the source: schema, publication, slot, in this order. It may be run again at any time, also while the
// service runs. What it must not or cannot do comes back as Refusals, one line each with the SQL to run (errors.Is
// ErrRefused); nothing is made before the server's settings and our rights have been found sufficient.
func Init(ctx context.Context, cfg Config, log *slog.Logger) (Report, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return Report{}, err
	}
	conn, err := postgres.Connect(ctx, cfg.URL, cfg.Name+" init")
	if err != nil {
		return Report{}, fmt.Errorf("connect to the source: %w", err)
	}
	defer closeSession(conn)
	return (&setup{cfg: cfg, log: log, conn: conn}).run(ctx)
}

func closeSession(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = conn.Close(ctx) // the server notices a lost session by itself
}

// setup is one run of Init.
type setup struct {
	cfg    Config
	log    *slog.Logger
	conn   *pgx.Conn
	server server
	report Report
}

func (s *setup) run(ctx context.Context) (Report, error) {
	for _, step := range []func(context.Context) error{s.inspect, s.schema, s.publication, s.slot} {
		if err := step(ctx); err != nil {
			return s.report, err
		}
	}
	return s.report, nil
}

// inspect refuses before anything is made.
func (s *setup) inspect(ctx context.Context) error {
	var err error
	if s.server, err = readServer(ctx, s.conn); err != nil {
		return err
	}
	have, err := readSlot(ctx, s.conn.PgConn(), s.cfg.Slot)
	if err != nil {
		return err
	}
	pub, err := readPublication(ctx, s.conn, s.server.version, s.cfg.Publication.Name)
	if err != nil {
		return err
	}
	tables, err := readTables(ctx, s.conn)
	if err != nil {
		return err
	}
	schema, err := s.haveSchema(ctx)
	if err != nil {
		return err
	}
	findings := []Finding{checkVersion(s.server), checkRecovery(s.server), checkWALLevel(s.server),
		checkReplicationRight(s.server), checkSlots(s.server, have.exists), checkSenders(s.server, have.activePID != 0),
		checkCreate(s.server, !schema || !pub.exists)}
	if !have.exists {
		findings = append(findings, checkSynchronous(s.server, s.cfg.Name))
	}
	findings = append(findings, checkPublicationForm(pub, s.cfg.Publication.Name)...)
	chosen := choose(s.cfg.Publication, tables)
	findings = append(findings, checkIdentities(chosen)...)
	// Our own tables may not exist yet, but whether the application's can be published is known already.
	d := compare(pub, chosen.listed)
	if !d.empty() {
		findings = append(findings, checkPublicationRights(s.server, pub, d, d.statements(s.cfg.Publication.Name, pub.exists), s.cfg.Publication.Name)...)
	}
	findings = append(findings, checkUnprotected(chosen)...)
	for _, f := range findings {
		if f.Level == Warn {
			s.report.Warnings = append(s.report.Warnings, f)
		}
	}
	if have.exists {
		if err := have.fit(s.cfg, s.server.database); err != nil {
			return err
		}
	}
	return refusals(findings)
}

func (s *setup) haveSchema(ctx context.Context) (bool, error) {
	var have bool
	err := s.conn.QueryRow(ctx, "select to_regnamespace('tidemark') is not null").Scan(&have)
	if err != nil {
		return false, fmt.Errorf("look for schema tidemark: %w", postgres.Explain(err))
	}
	return have, nil
}

func (s *setup) schema(ctx context.Context) error {
	have, err := s.haveSchema(ctx)
	if err != nil {
		return err
	}
	if !have {
		// IF NOT EXISTS asks for the right to create even where there is nothing to create, hence the look before.
		if _, err := s.conn.Exec(ctx, "create schema if not exists tidemark"); err != nil {
			return fmt.Errorf("create schema tidemark: %w", postgres.Explain(err))
		}
	}
	files, err := fs.Sub(migrations.Source, "source")
	if err != nil {
		return fmt.Errorf("open migrations: %w", err)
	}
	m, err := migrate.NewMigrator(ctx, s.conn, "tidemark.source_version")
	if err != nil {
		return s.migrationError(err)
	}
	if err := m.LoadMigrations(files); err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	if err := m.Migrate(ctx); err != nil {
		return s.migrationError(err)
	}
	return nil
}

func (s *setup) migrationError(err error) error {
	if postgres.Code(err) == "42501" { // insufficient_privilege: someone else made the schema
		return refuse(fmt.Sprintf("ALTER SCHEMA tidemark OWNER TO %s;", postgres.Ident(s.server.role)),
			"role %q may not create tables in schema tidemark, which another role owns", s.server.role)
	}
	return fmt.Errorf("migrate schema tidemark: %w", postgres.Explain(err))
}

// publication reconciles in one transaction (statements in one string are one), so that the published set never shows a state in between.
func (s *setup) publication(ctx context.Context) error {
	name := s.cfg.Publication.Name
	pub, err := readPublication(ctx, s.conn, s.server.version, name)
	if err != nil {
		return err
	}
	tables, err := readTables(ctx, s.conn)
	if err != nil {
		return err
	}
	chosen := choose(s.cfg.Publication, tables)
	s.report.Tables = len(chosen.listed)
	d := compare(pub, chosen.listed)
	if pub.exists && d.empty() {
		return nil
	}
	statements := d.statements(name, pub.exists)
	if err := refusals(append(checkIdentities(chosen), checkPublicationRights(s.server, pub, d, statements, name)...)); err != nil {
		return err
	}
	if _, err := s.conn.Exec(ctx, strings.Join(statements, "; ")); err != nil {
		return fmt.Errorf("prepare publication %q: %w", name, postgres.Explain(err))
	}
	s.report.Statements = statements
	return nil
}

// slot makes the slot, or takes the one that exists, and writes its generation down.
func (s *setup) slot(ctx context.Context) error {
	have, err := readSlot(ctx, s.conn.PgConn(), s.cfg.Slot)
	if err != nil {
		return err
	}
	generation, err := readGeneration(ctx, s.conn.PgConn(), s.cfg.Slot)
	if err != nil {
		return err
	}
	switch {
	case !have.exists:
		if generation, err = s.createSlot(ctx); err != nil {
			return err
		}
		s.report.SlotCreated = true
	case generation.IsZero():
		generation = have.confirmed
	}
	_, err = s.conn.Exec(ctx, `insert into tidemark.slot (slot_name, generation, system_id)
select `+postgres.Literal(s.cfg.Slot)+`, `+postgres.Literal(generation.String())+`, system_identifier::text from pg_control_system()
on conflict (slot_name) do update set generation = excluded.generation, system_id = excluded.system_id,
  created = case when slot.generation = excluded.generation then slot.created else now() end
where slot.generation <> excluded.generation or slot.system_id <> excluded.system_id`)
	if err != nil {
		return fmt.Errorf("write slot generation: %w", postgres.Explain(err))
	}
	s.report.Generation = generation
	return nil
}

func (s *setup) createSlot(ctx context.Context) (position.LSN, error) {
	// Creating a slot waits for every transaction that is running now.
	slow := time.AfterFunc(5*time.Second, func() {
		s.log.Warn("creating the slot waits for open transactions on the source to end", "slot", s.cfg.Slot)
	})
	defer slow.Stop()
	row, err := readRow(ctx, s.conn.PgConn(), "select lsn::text from pg_create_logical_replication_slot("+postgres.Literal(s.cfg.Slot)+", 'pgoutput')")
	if err != nil {
		return 0, fmt.Errorf("create slot %q: %w", s.cfg.Slot, err)
	}
	s.log.Info("created replication slot", "slot", s.cfg.Slot, "consistent_point", row[0])
	return position.ParseLSN(row[0])
}
