package snapshot

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"tidemark/internal/position"
	"tidemark/internal/postgres"
)

// application is the name of our sessions on both servers.
const application = "tidemark snapshot"

// capture's replication connection has this name, which synchronous_standby_names may hold.
const captureName = "tidemark"

// closeTimeout bounds saying good-bye to a server that may be gone.
const closeTimeout = 5 * time.Second

// Exported is an exported snapshot and the point where it was taken. It is valid until Close.
type Exported struct {
	// LSN is the consistent point: the snapshot holds exactly the transactions that end at or below it.
	LSN position.LSN
	// Name is what SET TRANSACTION SNAPSHOT takes.
	Name string
	// Time is the source's clock right after the snapshot was taken: no transaction in it committed later.
	Time time.Time
	// Where it was taken.
	SystemID string
	Timeline int32
	Database string
	Encoding string
	Version  postgres.Version

	conn *pgconn.PgConn
}

// Stream names the source in a standby's progress table.
func (e *Exported) Stream() string { return e.SystemID + "/" + e.Database }

// Export takes a snapshot. It waits until every write transaction that is open now, prepared ones included, has ended,
// and says so in the log; cancel ctx to give up. It leaves no slot behind, whatever happens. It refuses to run while
// our own name stands in synchronous_standby_names: commits would wait for us, and we for them.
func Export(ctx context.Context, url string, log *slog.Logger) (_ *Exported, err error) {
	e := &Exported{}
	if e.conn, err = postgres.ConnectReplication(ctx, url, application); err != nil {
		return nil, fmt.Errorf("connect to source for replication: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.Close())
		}
	}()
	if err := e.identify(ctx); err != nil {
		return nil, err
	}
	// The clock is not read over e.conn: its next command would end the snapshot.
	conn, err := connect(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("connect to source: %w", err)
	}
	defer closeSession(conn)
	if err := e.create(ctx, log); err != nil {
		return nil, err
	}
	if err := conn.QueryRow(ctx, "select clock_timestamp()").Scan(&e.Time); err != nil {
		return nil, fmt.Errorf("read source's clock: %w", postgres.Explain(err))
	}
	e.Time = e.Time.UTC()
	return e, nil
}

// Close ends the snapshot. Sessions that have imported it keep it.
func (e *Exported) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := e.conn.Close(ctx); err != nil && !e.conn.IsClosed() {
		return fmt.Errorf("close replication connection: %w", err)
	}
	return nil
}

func (e *Exported) identify(ctx context.Context) error {
	row, err := one(ctx, e.conn, "IDENTIFY_SYSTEM")
	if err != nil {
		return fmt.Errorf("identify source: %w", err)
	}
	timeline, err := strconv.ParseInt(row["timeline"], 10, 32)
	if err != nil {
		return fmt.Errorf("identify source: read timeline: %w", err)
	}
	e.SystemID, e.Timeline, e.Database = row["systemid"], int32(timeline), row["dbname"]
	row, err = one(ctx, e.conn, `select current_setting('server_version_num') as version, current_setting('server_encoding') as encoding,
  current_setting('synchronous_standby_names') as standbys`)
	if err != nil {
		return fmt.Errorf("identify source: %w", err)
	}
	if e.Version, err = postgres.ParseVersion(row["version"]); err != nil {
		return fmt.Errorf("identify source: %w", err)
	}
	e.Encoding = row["encoding"]
	if namesUs(row["standbys"]) {
		return fmt.Errorf("take snapshot: synchronous_standby_names on the source names %q, and taking a snapshot would wait for "+
			"transactions that wait for us; take the name out while the snapshot is taken", captureName)
	}
	return nil
}

// namesUs reports whether synchronous_standby_names lists our name. The words of its syntax (FIRST, ANY, numbers) are
// in the way of nothing.
func namesUs(setting string) bool {
	for _, name := range strings.FieldsFunc(setting, func(r rune) bool { return strings.ContainsRune("(), \t\n", r) }) {
		if strings.EqualFold(strings.Trim(name, `"`), captureName) {
			return true
		}
	}
	return false
}

func (e *Exported) create(ctx context.Context, log *slog.Logger) error {
	random := make([]byte, 8)
	if _, err := rand.Read(random); err != nil {
		return fmt.Errorf("name temporary slot: %w", err)
	}
	command := "CREATE_REPLICATION_SLOT tidemark_snapshot_" + hex.EncodeToString(random) + " TEMPORARY LOGICAL pgoutput "
	if e.Version.Major() >= 15 {
		command += "(SNAPSHOT 'export')"
	} else {
		command += "EXPORT_SNAPSHOT"
	}
	// Until Close the server counts this session as idle in a transaction.
	if _, err := e.conn.Exec(ctx, patience).ReadAll(); err != nil {
		return fmt.Errorf("prepare session: %w", postgres.Explain(err))
	}
	stop := announce(log, "waiting for transactions that are open on the source")
	row, err := cancellable(ctx, e.conn, command)
	stop()
	if err != nil {
		return fmt.Errorf("create temporary slot: %w", err)
	}
	if e.LSN, err = position.ParseLSN(row["consistent_point"]); err != nil {
		return fmt.Errorf("create temporary slot: %w", err)
	}
	e.Name = row["snapshot_name"]
	if e.Name == "" {
		return fmt.Errorf("create temporary slot: the server exported no snapshot")
	}
	return nil
}

// cancellable runs a command that may wait for long. When ctx ends, the server is asked to cancel it: a walsender that
// waits for transactions does not notice that its client is gone, and would keep its slot until they end.
func cancellable(ctx context.Context, conn *pgconn.PgConn, command string) (map[string]string, error) {
	done := make(chan struct{})
	asked := make(chan struct{})
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	go func() {
		defer close(asked)
		select {
		case <-done:
		case <-ctx.Done():
			limit, stop := context.WithTimeout(context.Background(), closeTimeout)
			defer stop()
			if err := conn.CancelRequest(limit); err != nil {
				cancel() // then by closing the connection
			}
			select {
			case <-done:
			case <-limit.Done():
				cancel()
			}
		}
	}()
	row, err := one(inner, conn, command)
	close(done)
	<-asked
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return row, err
}

// one runs a command of one row by the simple protocol and gives its values by name.
func one(ctx context.Context, conn *pgconn.PgConn, command string) (map[string]string, error) {
	results, err := conn.Exec(ctx, command).ReadAll()
	if err != nil {
		return nil, postgres.Explain(err)
	}
	if len(results) != 1 || len(results[0].Rows) != 1 {
		return nil, fmt.Errorf("the server answered with no row")
	}
	row := make(map[string]string)
	for i, field := range results[0].FieldDescriptions {
		row[field.Name] = string(results[0].Rows[0][i])
	}
	return row, nil
}

// waitInterval is how often a wait is announced.
const waitInterval = 5 * time.Second

// announce logs every few seconds, until stop is called, that something is being waited for.
func announce(log *slog.Logger, what string) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	start := time.Now()
	go func() {
		defer close(ended)
		ticker := time.NewTicker(waitInterval)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				log.Info("still waiting", "for", what, "waited", time.Since(start).Round(time.Second).String())
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

func closeSession(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = conn.Close(ctx) // nothing of it is to be kept
}
