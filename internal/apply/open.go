package apply

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/tern/v2/migrate"

	"tidemark/internal/postgres"
	"tidemark/migrations"
)

// VersionTable holds the version of the target's schema tidemark.
const VersionTable = "tidemark.standby_version"

// Config says what is applied where.
type Config struct {
	// URL of the target database.
	URL string
	// Stream identifies the source: system identifier, slash, database.
	Stream string
	// Name is the session's application_name; empty takes "tidemark apply".
	Name string
	// LockWait bounds how long Open waits for a lost connection's backend to end; 0 takes 10 s.
	LockWait time.Duration
	// Bindings is what earlier appliers of the same target noted, and this one goes on with; nil begins anew.
	Bindings *Bindings
}

// Open connects to a target and makes the session ready. The caller calls Position next, and Close in the end.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (*Applier, error) {
	if cfg.Name == "" {
		cfg.Name = "tidemark apply"
	}
	if cfg.LockWait == 0 {
		cfg.LockWait = 10 * time.Second
	}
	if cfg.Bindings == nil {
		cfg.Bindings = &Bindings{}
	}
	conn, err := postgres.Connect(ctx, cfg.URL, cfg.Name)
	if err != nil {
		return nil, fmt.Errorf("connect to target: %w", err)
	}
	a := newApplier(cfg, conn, log)
	for _, prepare := range []func(context.Context) error{a.identify, a.migrate, a.lock, a.configure, a.verify} {
		if err := prepare(ctx); err != nil {
			return nil, errors.Join(err, a.closeConn(ctx))
		}
	}
	return a, nil
}

// identify learns who we are, and that the target takes writes.
func (a *Applier) identify(ctx context.Context) error {
	var recovering bool
	err := a.conn.QueryRow(ctx, "select session_user, pg_is_in_recovery(), current_setting('server_version_num')::int").
		Scan(&a.role, &recovering, &a.version)
	if err != nil {
		return fmt.Errorf("look at target: %w", postgres.Explain(err))
	}
	if recovering {
		return fmt.Errorf("look at target: the server is in recovery (a physical standby) and takes no writes")
	}
	return nil
}

func (a *Applier) migrate(ctx context.Context) error {
	err := Migrate(ctx, a.conn)
	if postgres.Code(err) == "42501" {
		return &RightsError{What: "make schema tidemark on the target", Err: err, SQL: "create schema tidemark authorization " + postgres.Ident(a.role)}
	}
	return err
}

// Migrate brings the target's schema tidemark to the present version. It may run on any session of ours outside a transaction.
func Migrate(ctx context.Context, conn *pgx.Conn) error {
	var exists bool
	err := conn.QueryRow(ctx, "select exists(select from pg_namespace where nspname = 'tidemark')").Scan(&exists)
	if err == nil && !exists {
		_, err = conn.Exec(ctx, "create schema if not exists tidemark")
	}
	if err != nil {
		return fmt.Errorf("make schema tidemark: %w", postgres.Explain(err))
	}
	files, err := fs.Sub(migrations.Standby, "standby")
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	m, err := migrate.NewMigrator(ctx, conn, VersionTable)
	if err != nil {
		return fmt.Errorf("migrate schema tidemark: %w", postgres.Explain(err))
	}
	if err := m.LoadMigrations(files); err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	if err := m.Migrate(ctx); err != nil {
		return fmt.Errorf("migrate schema tidemark: %w", postgres.Explain(err))
	}
	return nil
}

// lock keeps every other applier of this stream out for as long as our session lives.
func (a *Applier) lock(ctx context.Context) error {
	if _, err := a.conn.Exec(ctx, "select set_config('lock_timeout', $1, false)", fmt.Sprint(a.cfg.LockWait.Milliseconds())); err != nil {
		return fmt.Errorf("lock the stream: %w", postgres.Explain(err))
	}
	key := lockKey(a.cfg.Stream)
	_, err := a.conn.Exec(ctx, "select pg_advisory_lock($1)", key)
	if postgres.Code(err) == "55P03" {
		return fmt.Errorf("lock the stream: %w: %s", ErrLocked, a.holder(ctx, key))
	}
	if err != nil {
		return fmt.Errorf("lock the stream: %w", postgres.Explain(err))
	}
	if _, err := a.conn.Exec(ctx, "set lock_timeout = 0"); err != nil {
		return fmt.Errorf("lock the stream: %w", postgres.Explain(err))
	}
	return nil
}

func lockKey(stream string) int64 {
	sum := sha256.Sum256([]byte("tidemark apply\x00" + stream))
	return int64(binary.BigEndian.Uint64(sum[:8]))
}

// holder describes the session that holds a lock, as well as our role may see it.
func (a *Applier) holder(ctx context.Context, key int64) string {
	var pid int32
	var name string
	err := a.conn.QueryRow(ctx, `select l.pid, coalesce(s.application_name, '') from pg_locks l left join pg_stat_activity s using (pid)
		where l.locktype = 'advisory' and l.granted and l.objsubid = 1 and l.database = (select oid from pg_database where datname = current_database())
		and l.classid = $1::bigint::oid and l.objid = $2::bigint::oid`, int64(uint64(key)>>32), int64(uint64(key)&0xffffffff)).Scan(&pid, &name)
	if err != nil {
		return "it has just ended"
	}
	return fmt.Sprintf("backend %d, application %q, waited %s for it", pid, name, a.cfg.LockWait)
}

// settings of an applying session, beyond those of every session of ours. Plans are pinned to indexes because a
// statement may be planned while its table is still small; without an index a sequential scan is used all the same.
const settings = `set idle_session_timeout = 0; set enable_seqscan = off; set jit = off;
	set tcp_keepalives_idle = 30; set tcp_keepalives_interval = 10; set tcp_keepalives_count = 3`

func (a *Applier) configure(ctx context.Context) error {
	all := settings
	if a.version >= 170000 {
		all += "; set transaction_timeout = 0"
	}
	if _, err := a.conn.Exec(ctx, all, pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("set up the session on the target: %w", postgres.Explain(err))
	}
	_, err := a.conn.Exec(ctx, "set session_replication_role = replica")
	if postgres.Code(err) == "42501" {
		grant := "grant set on parameter session_replication_role to " + postgres.Ident(a.role)
		if a.version < 150000 {
			grant = "alter role " + postgres.Ident(a.role) + " superuser"
		}
		return &RightsError{What: "set session_replication_role on the target", SQL: grant, Err: postgres.Explain(err)}
	}
	if err != nil {
		return fmt.Errorf("set session_replication_role on the target: %w", postgres.Explain(err))
	}
	return nil
}

// verify reads back the settings under which text means the same on both sides: a pooler between us may have dropped them.
func (a *Applier) verify(ctx context.Context) error {
	want := postgres.Canonical()
	want["session_replication_role"] = "replica"
	rows, err := a.conn.Query(ctx, "select name, current_setting(name) from unnest($1::text[]) name", slices.Sorted(maps.Keys(want)))
	if err != nil {
		return fmt.Errorf("verify settings: %w", postgres.Explain(err))
	}
	var name, got string
	_, err = pgx.ForEachRow(rows, []any{&name, &got}, func() error {
		if name == "datestyle" {
			got, _, _ = strings.Cut(got, ",")
		}
		if !strings.EqualFold(strings.Trim(got, `"`), want[name]) {
			return fmt.Errorf("%s is %q on the target and must be %q; connect without a pooler", name, got, want[name])
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("verify settings: %w", postgres.Explain(err))
	}
	return nil
}
