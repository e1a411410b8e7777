package source

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"tidemark/internal/position"
	"tidemark/internal/postgres"
)

// Sample is one look at the source: at the moment Time on its clock, or later, its WAL ended at End. So everything that
// had committed by Time ends at or below End.
type Sample struct {
	Time position.Time
	End  position.LSN
}

// Status is what the heartbeat last saw. Sizes are bytes.
type Status struct {
	// Connected is false while the heartbeat has no session, or its last beat failed.
	Connected bool
	Sample    Sample
	// Offset is the source's clock minus ours, right within half of RoundTrip.
	Offset    time.Duration
	RoundTrip time.Duration
	Slot      SlotStatus
}

// SlotStatus is the slot as the primary sees it.
type SlotStatus struct {
	Exists    bool
	Active    bool
	Restart   position.LSN
	Confirmed position.LSN
	// Retained is the WAL that the primary keeps for the slot.
	Retained int64
	// Safe is how much more may be written before the slot is in danger; -1 when nothing limits it.
	Safe int64
	// WALStatus is reserved, extended, unreserved or lost; Invalidation says why, when the server does.
	WALStatus    string
	Invalidation string
}

// Heartbeat writes to the source at an interval so that an idle source still confirms that nothing is missing, records
// the state of sequences, and measures. It has a session of its own: nothing it waits for holds capture up.
type Heartbeat struct {
	cfg     Config
	log     *slog.Logger
	observe func(Sample)
	// stopping, if set, is told that the source is shutting down.
	stopping func()

	mu     sync.Mutex
	status Status
}

// NewHeartbeat returns a heartbeat that does nothing before Run. observe, if not nil, receives every sample.
func NewHeartbeat(cfg Config, log *slog.Logger, observe func(Sample)) *Heartbeat {
	return &Heartbeat{cfg: cfg.WithDefaults(), log: log, observe: observe}
}

// OnShutdown sets what is called when the source is found shutting down, at most once per beat. It is called before Run.
func (h *Heartbeat) OnShutdown(stopping func()) { h.stopping = stopping }

// Status returns what the last beat saw. It may be called at any time.
func (h *Heartbeat) Status() Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.status
}

func (h *Heartbeat) update(change func(*Status)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change(&h.status)
}

// Run beats until ctx ends, and then returns nil. It reconnects by itself; a source that is away is logged once.
func (h *Heartbeat) Run(ctx context.Context) error {
	var conn *pgx.Conn
	defer func() {
		if conn != nil {
			closeSession(conn)
		}
	}()
	var failing bool
	for {
		next := time.Now().Add(h.cfg.Heartbeat)
		err := h.once(ctx, &conn)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !failing {
			h.log.Warn("heartbeat fails and will be tried again", "error", err)
		}
		if err == nil && failing {
			h.log.Info("heartbeat works again")
		}
		failing = err != nil
		h.update(func(s *Status) { s.Connected = err == nil })
		if rest(ctx, conn, next); ctx.Err() != nil {
			return nil
		}
	}
}

// rest waits until next, or until the server ends the session: it may be shutting down, and a new connection tells.
func rest(ctx context.Context, conn *pgx.Conn, next time.Time) {
	ctx, cancel := context.WithDeadline(ctx, next)
	defer cancel()
	for conn != nil && ctx.Err() == nil {
		// We listen to nothing: it returns when the time is over or the session is.
		if err := conn.PgConn().WaitForNotification(ctx); err != nil && conn.IsClosed() {
			return
		}
	}
	<-ctx.Done()
}

// shuttingDown reports whether a server that refused a connection is not to be reached now (57P03). It says so when it
// starts as well, but then no session of ours is left that it could wait for.
func shuttingDown(err error) bool { return postgres.Code(err) == "57P03" }

// beatTimeout bounds one beat: a session that hangs is given up.
const beatTimeout = 10 * time.Second

func (h *Heartbeat) once(ctx context.Context, conn **pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, beatTimeout)
	defer cancel()
	if *conn != nil && (*conn).IsClosed() {
		*conn = nil
	}
	if *conn == nil {
		c, err := postgres.Connect(ctx, h.cfg.URL, h.cfg.Name+" heartbeat")
		if shuttingDown(err) && h.stopping != nil {
			h.stopping()
		}
		if err != nil {
			return fmt.Errorf("connect to the source: %w", err)
		}
		*conn = c
	}
	err := errors.Join(h.beat(ctx, *conn), h.measure(ctx, *conn))
	if err == nil {
		err = h.sequences(ctx, *conn)
	}
	if (*conn).IsClosed() {
		*conn = nil
	}
	return err
}

func (h *Heartbeat) beat(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, `insert into tidemark.heartbeat (id, at, seq) values (1, clock_timestamp(), 1)
on conflict (id) do update set at = excluded.at, seq = heartbeat.seq + 1`)
	if err != nil {
		return fmt.Errorf("write heartbeat: %w", postgres.Explain(err))
	}
	return nil
}

// measure reads the clock before the end of WAL, in this order: what had committed by then lies below that end.
func (h *Heartbeat) measure(ctx context.Context, conn *pgx.Conn) error {
	sent := time.Now()
	row, err := readRow(ctx, conn.PgConn(), "select (extract(epoch from clock_timestamp()) * 1000000)::bigint, pg_current_wal_insert_lsn()")
	if err != nil {
		return fmt.Errorf("measure the source: %w", err)
	}
	roundTrip := time.Since(sent)
	var micro int64
	if _, err := fmt.Sscan(row[0], &micro); err != nil {
		return fmt.Errorf("read the source's clock: %w", err)
	}
	end, err := position.ParseLSN(row[1])
	if err != nil {
		return fmt.Errorf("read the source's end of WAL: %w", err)
	}
	clock := time.UnixMicro(micro)
	sample := Sample{Time: position.TimeOf(clock), End: end}
	s, err := readSlot(ctx, conn.PgConn(), h.cfg.Slot)
	if err != nil {
		return err
	}
	h.update(func(st *Status) {
		st.Sample, st.RoundTrip, st.Offset = sample, roundTrip, clock.Sub(sent.Add(roundTrip/2))
		st.Slot = SlotStatus{Exists: s.exists, Active: s.activePID != 0, Restart: s.restart, Confirmed: s.confirmed,
			Retained: s.retained, Safe: s.safe, WALStatus: s.walStatus, Invalidation: s.invalidation}
	})
	if h.observe != nil {
		h.observe(sample)
	}
	return nil
}

const sequencesSQL = `set local lock_timeout = '500ms';
with now as materialized (
  select n.nspname, c.relname, pg_sequence_last_value(s.seqrelid) as last, s.seqstart, s.seqincrement
  from pg_sequence s join pg_class c on c.oid = s.seqrelid join pg_namespace n on n.oid = c.relnamespace
  where n.nspname in (select schemaname from pg_publication_tables where pubname = $publication and schemaname <> 'tidemark')
    and has_sequence_privilege(s.seqrelid, 'SELECT,USAGE')
), wanted as (
  select nspname, relname, coalesce(last, seqstart) as value, last is not null as called, seqincrement from now
)
insert into tidemark.sequence (schema_name, sequence_name, last_value, is_called, increment)
select w.* from wanted w left join tidemark.sequence k on k.schema_name = w.nspname and k.sequence_name = w.relname
where (k.last_value, k.is_called, k.increment) is distinct from (w.value, w.called, w.seqincrement)
on conflict (schema_name, sequence_name) do update
  set last_value = excluded.last_value, is_called = excluded.is_called, increment = excluded.increment;
delete from tidemark.sequence t where not exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind = 'S' and n.nspname = t.schema_name and c.relname = t.sequence_name)`

// sequences records the sequences beside published tables, those that changed only. One that was never used stands
// at its start value, not called. Reading a sequence waits for whoever alters it; half a second is enough to wait.
func (h *Heartbeat) sequences(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, strings.ReplaceAll(sequencesSQL, "$publication", postgres.Literal(h.cfg.Publication.Name)))
	if code := postgres.Code(err); code == "55P03" || code == "42P01" { // being altered, or dropped meanwhile: next time
		return nil
	}
	if err != nil {
		return fmt.Errorf("record sequences: %w", postgres.Explain(err))
	}
	return nil
}
