package source

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"tidemark/internal/planted"
	"tidemark/internal/position"
	"tidemark/internal/postgres"
)

// Start is what Gate found: whose changes will come, and from where.
type Start struct {
	Identity Identity
	// LSN is where to start: the journal's end, or for a new journal the slot's confirmed position.
	LSN position.LSN
	// Confirmed is what the slot had confirmed: reporting it again claims nothing new.
	Confirmed position.LSN
	// ActivePID is the server process that uses the slot now, 0 for none. It usually is a former connection of ours
	// whose end the server has not noticed yet: capture waits for it.
	ActivePID int
	// Patience is how long the source keeps the connection of a receiver that says nothing (wal_sender_timeout, which roles
	// and databases may set); 0 for ever.
	Patience time.Duration
}

// Gate decides whether what the slot will send continues what the journal holds. journal is the identity in the
// journal's headers and end its end LSN; both are zero for a new journal. A mismatch is a Refusal (errors.Is ErrRefused):
// going on would lose changes silently. Other errors are transient.
func Gate(ctx context.Context, cfg Config, journal Identity, end position.LSN) (Start, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return Start{}, err
	}
	pc, err := postgres.ConnectReplication(ctx, cfg.URL, cfg.Name)
	if err != nil {
		return Start{}, ExplainConnect(cfg, err)
	}
	defer closeReplication(pc)
	return GateOn(ctx, pc, cfg, journal, end)
}

func closeReplication(pc *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = pc.Close(ctx) // the server notices a lost session by itself
}

// ExplainConnect adds to an error from connecting for replication what to do about it, where the server's own words do
// not say so.
func ExplainConnect(cfg Config, err error) error {
	err = fmt.Errorf("connect to the source for replication: %w", postgres.Explain(err))
	switch postgres.Code(err) {
	case "53300": // too_many_connections: max_wal_senders or a connection limit
		return fmt.Errorf("%w; to mend it: raise max_wal_senders (and max_connections) and restart the server", err)
	case "42501": // insufficient_privilege
		return fmt.Errorf("%w; to mend it: ALTER ROLE … REPLICATION", err)
	}
	return err
}

// GateOn is Gate on a replication connection that is idle. Capture calls it anew on every connection, right before it
// starts to stream on that same connection: a source can change while we are away.
func GateOn(ctx context.Context, pc *pgconn.PgConn, cfg Config, journal Identity, end position.LSN) (Start, error) {
	if err := isPrimary(ctx, pc); err != nil {
		return Start{}, err
	}
	id, flushed, err := identify(ctx, pc)
	if err != nil {
		return Start{}, err
	}
	if err := sameSource(journal, id); err != nil {
		return Start{}, err
	}
	if err := havePublication(ctx, pc, cfg); err != nil {
		return Start{}, err
	}
	s, err := readSlot(ctx, pc, cfg.Slot)
	if err != nil {
		return Start{}, err
	}
	if err := s.fit(cfg, id.Database); err != nil {
		return Start{}, err
	}
	if id.Generation, err = readGeneration(ctx, pc, cfg.Slot); err != nil {
		return Start{}, err
	}
	if err := sameGeneration(cfg, journal, id); err != nil {
		return Start{}, err
	}
	patience, err := readPatience(ctx, pc)
	if err != nil {
		return Start{}, err
	}
	start := Start{Identity: id, LSN: end, Confirmed: s.confirmed, ActivePID: s.activePID, Patience: patience}
	if end.IsZero() {
		start.LSN = s.confirmed
		return start, nil
	}
	return start, inRange(cfg, s.confirmed, end, flushed)
}

// isPrimary lets a server in recovery be transient: with several hosts in the URL the next connection may find the primary, and
// this one may be promoted. What it lacks, such as the slot, is no reason to refuse the source.
func isPrimary(ctx context.Context, pc *pgconn.PgConn) error {
	row, err := readRow(ctx, pc, "select pg_is_in_recovery()")
	if err != nil {
		return fmt.Errorf("ask whether the source is a primary: %w", err)
	}
	if row[0] != "f" {
		return errors.New("the source is in recovery: source.url must reach the primary (several hosts need target_session_attrs=read-write)")
	}
	return nil
}

// identify asks for the cluster's identity. Columns of IDENTIFY_SYSTEM are taken by name: some servers add their own.
func identify(ctx context.Context, pc *pgconn.PgConn) (Identity, position.LSN, error) {
	results, err := pc.Exec(ctx, "IDENTIFY_SYSTEM").ReadAll()
	if err != nil {
		return Identity{}, 0, fmt.Errorf("identify the source: %w", postgres.Explain(err))
	}
	if len(results) != 1 || len(results[0].Rows) != 1 {
		return Identity{}, 0, errors.New("identify the source: unexpected answer")
	}
	field := map[string]string{}
	for i, f := range results[0].FieldDescriptions {
		field[f.Name] = string(results[0].Rows[0][i])
	}
	id := Identity{SystemID: field["systemid"], Database: field["dbname"]}
	timeline, err := strconv.ParseUint(field["timeline"], 10, 32)
	if err != nil || id.SystemID == "" || id.Database == "" {
		return Identity{}, 0, errors.New("identify the source: unexpected answer")
	}
	id.Timeline = uint32(timeline)
	flushed, err := position.ParseLSN(field["xlogpos"])
	if err != nil {
		return Identity{}, 0, fmt.Errorf("identify the source: %w", err)
	}
	row, err := readRow(ctx, pc, "select current_setting('server_version_num')")
	if err != nil {
		return Identity{}, 0, fmt.Errorf("identify the source: %w", err)
	}
	id.ServerVersion, err = postgres.ParseVersion(row[0])
	return id, flushed, err
}

func readPatience(ctx context.Context, pc *pgconn.PgConn) (time.Duration, error) {
	row, err := readRow(ctx, pc, "select setting from pg_catalog.pg_settings where name = 'wal_sender_timeout'")
	if err != nil {
		return 0, fmt.Errorf("read wal_sender_timeout: %w", err)
	}
	ms, err := strconv.ParseUint(row[0], 10, 31)
	if err != nil {
		return 0, fmt.Errorf("read wal_sender_timeout: %w", err)
	}
	return time.Duration(ms) * time.Millisecond, nil
}

func sameSource(journal, id Identity) error {
	const other = "use this source's own journal directory, or an empty one and rebuild the copies (resync)"
	switch {
	case journal.SystemID == "":
		return nil
	case journal.SystemID != id.SystemID:
		return refuse(other, "the journal belongs to another cluster: its system identifier is %s, the source's is %s", journal.SystemID, id.SystemID)
	case journal.Database != id.Database:
		return refuse(other, "the journal belongs to database %q, and source.url names %q", journal.Database, id.Database)
	case journal.Timeline != 0 && journal.Timeline != id.Timeline:
		return refuse("rebuild the copies (resync), or point source.url at the server that the journal followed",
			"the source is on timeline %d and the journal on %d: the source failed over or was restored, and may lack what the journal holds", id.Timeline, journal.Timeline)
	}
	return nil
}

func sameGeneration(cfg Config, journal, id Identity) error {
	if journal.Generation.IsZero() || id.Generation.IsZero() || journal.Generation == id.Generation {
		return nil
	}
	return refuse("rebuild the copies (resync) with an empty journal directory",
		"replication slot %q was made again at %s, and the journal follows the one made at %s: changes between them are missing", cfg.Slot, id.Generation, journal.Generation)
}

// havePublication looks before streaming: from PostgreSQL 18 on a missing publication is only a warning, and nothing
// would ever come.
func havePublication(ctx context.Context, pc *pgconn.PgConn, cfg Config) error {
	_, err := readRow(ctx, pc, "select 1 from pg_publication where pubname = "+postgres.Literal(cfg.Publication.Name))
	if errors.Is(err, errNoRow) {
		return refuse("run tidemark init", "publication %q does not exist", cfg.Publication.Name)
	}
	if err != nil {
		return fmt.Errorf("look for the publication: %w", err)
	}
	return nil
}

// inRange holds the start against both ends. The server accepts either mistake: it forwards a start below the
// confirmed position without a word, and drops what commits below a start beyond the end of its WAL.
func inRange(cfg Config, confirmed, end, flushed position.LSN) error {
	if end < confirmed && !planted.Is(planted.TailCut) {
		return refuse("restore the journal that was in use, or start with an empty journal directory and rebuild the copies (resync)",
			"replication slot %q has confirmed up to %s, and the journal ends at %s: the source will not send what lies between", cfg.Slot, confirmed, end)
	}
	if end > flushed {
		return refuse("point source.url at the server that the journal followed, or start with an empty journal directory and rebuild the copies (resync)",
			"the journal ends at %s, beyond the end of the source's WAL at %s: the source lost changes that the journal holds, or is another server", end, flushed)
	}
	return nil
}
