package check

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"tidemark/internal/position"
	"tidemark/internal/postgres/pgtest"

	"tidemark/integration/checker/fold"
)

// archived is a journal and an archive that the program itself made from a small history, and the history as test_decoding tells it.
type archived struct {
	config    string
	journal   string
	archive   string
	trace     string
	history   []fold.Transaction
	began     position.LSN // where the slot was made
	covered   position.LSN // the archive's position as status gave it
	confirmed position.LSN
	end       position.LSN // of the reference log
}

var archivedTables = []fold.Table{
	{Schema: "s", Name: "keyed", Columns: []fold.Column{{Name: "id", Type: "integer"}, {Name: "a", Type: "text"}}, Key: []int{0}},
	{Schema: "s", Name: "Fu.ll", Columns: []fold.Column{{Name: "a", Type: "integer"}}, Identity: fold.Full},
}

const archivedSchema = `create schema s; create table s.keyed (id int primary key, a text);
create table s."Fu.ll" (a int); alter table s."Fu.ll" replica identity full; create schema private; create table private.hidden (a int);`

func (a *archived) program(t testing.TB) string {
	t.Helper()
	path := filepath.Join(filepath.Dir(a.config), "tidemark")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	cmd := exec.Command("go", "build", "-trimpath", "-o", path, "./cmd/tidemark")
	cmd.Dir = "../../.."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v: %s", err, out)
	}
	return path
}

func (a *archived) command(t testing.TB) Command {
	program := a.program(t)
	return func(ctx context.Context, args ...string) (int, string, string, error) {
		var stdout, stderr bytes.Buffer
		cmd := exec.CommandContext(ctx, program, append(args, "-c", a.config)...)
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.Exited() {
			err = nil
		}
		return cmd.ProcessState.ExitCode(), stdout.String(), stderr.String(), err
	}
}

func (a *archived) must(t testing.TB, args ...string) string {
	t.Helper()
	code, stdout, stderr, err := a.command(t)(t.Context(), args...)
	if err != nil || code != 0 {
		t.Fatalf("tidemark %v: exit code %d, %v: %s", args, code, err, stderr)
	}
	return stdout
}

// newArchived lets three sessions write while the service runs, with a base before and one in the middle.
func newArchived(t *testing.T) *archived {
	t.Helper()
	dir, source := t.TempDir(), pgtest.Database(t, 0)
	a := &archived{config: filepath.Join(dir, "tidemark.yaml"), journal: filepath.Join(dir, "journal"), archive: "file://" + filepath.Join(dir, "archive"), trace: filepath.Join(dir, "trace")}
	conn := connectTo(t, source)
	statements(t, conn, archivedSchema, "select pg_create_logical_replication_slot('reference_' || current_database(), 'test_decoding')")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listen := listener.Addr().String()
	_ = listener.Close()
	yaml := fmt.Sprintf(`source: {url: %q, slot: %q, publication: {exclude: ["private.*"]}, heartbeat: 200ms}
journal: {dir: %q, segment_size: 1MiB}
http: {listen: %q}
sinks: {nats: {enabled: false}, archive: {url: %q, flush_interval: 200ms}}
`, source, "slot_"+databaseName(t, conn), a.journal, listen, a.archive)
	if err := os.WriteFile(a.config, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	a.must(t, "init")
	a.began = a.slot(t, conn)
	stop := a.serve(t)
	a.must(t, "snapshot", "archive")
	a.load(t, source)
	a.must(t, "snapshot", "archive")
	stop()
	stop = a.serve(t)
	a.load(t, source)
	a.wait(t, currentEnd(t, conn))
	stop()
	a.confirmed = a.slot(t, conn)
	a.history = reference(t, conn)
	a.end = currentEnd(t, conn)
	statements(t, conn, "select pg_drop_replication_slot('reference_' || current_database())", "select pg_drop_replication_slot('slot_' || current_database())")
	return a
}

func connectTo(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func databaseName(t *testing.T, conn *pgx.Conn) (name string) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), "select current_database()::text").Scan(&name); err != nil {
		t.Fatal(err)
	}
	return name
}

func lsnOf(t *testing.T, conn *pgx.Conn, query string) (lsn position.LSN) {
	t.Helper()
	var text string
	err := conn.QueryRow(t.Context(), query).Scan(&text)
	if err == nil {
		lsn, err = position.ParseLSN(text)
	}
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return lsn
}

func currentEnd(t *testing.T, conn *pgx.Conn) position.LSN {
	return lsnOf(t, conn, "select pg_current_wal_insert_lsn()::text")
}

func (a *archived) slot(t *testing.T, conn *pgx.Conn) position.LSN {
	return lsnOf(t, conn, "select confirmed_flush_lsn::text from pg_replication_slots where slot_name = 'slot_' || current_database()")
}

func (a *archived) serve(t *testing.T) (stop func()) {
	t.Helper()
	cmd := exec.Command(a.program(t), "run", "--trace", a.trace, "-c", a.config)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	t.Cleanup(func() {
		if !ended {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		if t.Failed() {
			t.Logf("log of the service:\n%s", log.String())
		}
	})
	return func() {
		ended = true
		if err := errors.Join(cmd.Process.Signal(syscall.SIGTERM), cmd.Wait()); err != nil {
			t.Fatalf("the service ended with %v", err)
		}
	}
}

func (a *archived) load(t *testing.T, source string) {
	t.Helper()
	var sessions sync.WaitGroup
	for n := range 3 {
		conn := connectTo(t, source)
		sessions.Go(func() {
			for i := range 25 {
				id := 1 + n + 3*(i%10)
				statements := []string{
					fmt.Sprintf("insert into s.keyed values (%d, 'x%d') on conflict (id) do update set a = excluded.a", id, i),
					fmt.Sprintf(`begin; insert into s."Fu.ll" select g %% 3 from generate_series(1, 5) g; update s.keyed set a = null where id = %d; commit`, id),
					fmt.Sprintf("delete from s.keyed where id = %d", id), "insert into private.hidden values (1)",
					fmt.Sprintf(`update s."Fu.ll" set a = a + 1 where ctid = (select ctid from s."Fu.ll" where a = %d limit 1 for update skip locked)`, n),
				}
				if n == 0 && i == 12 {
					statements = append(statements, `begin; truncate s."Fu.ll", s.keyed; insert into s.keyed values (1000, 'new'); commit; delete from s.keyed where id = 1000`)
				}
				if n == 1 && i%10 == 5 { // for more than one segment
					statements = append(statements, "begin; insert into s.keyed values (2000, repeat('x', 400000)); delete from s.keyed where id = 2000; commit")
				}
				for _, s := range statements {
					if _, err := conn.Exec(t.Context(), s, pgx.QueryExecModeSimpleProtocol); err != nil {
						t.Errorf("%s: %v", s, err)
						return
					}
				}
			}
		})
	}
	sessions.Wait()
}

// wait waits until the archive holds lsn.
func (a *archived) wait(t *testing.T, lsn position.LSN) {
	t.Helper()
	for begin := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		var status struct {
			Copies []struct {
				Name     string
				Position position.LSN
			}
		}
		_, stdout, stderr, err := a.command(t)(t.Context(), "status", "--json")
		if err == nil {
			_ = json.Unmarshal([]byte(stdout), &status) // the service may not answer yet
		}
		for _, c := range status.Copies {
			if a.covered = c.Position; c.Name == "archive" && c.Position >= lsn {
				return
			}
		}
		if time.Since(begin) > 30*time.Second {
			t.Fatalf("the archive does not reach %s: %s %s", lsn, stdout, stderr)
		}
	}
}

var (
	decodedRow   = regexp.MustCompile(`^table (.*?): (INSERT|UPDATE|DELETE|TRUNCATE):(.*)$`)
	decodedValue = regexp.MustCompile(`(\w+)\[\w+\]:(?:'([^']*)'|(null)|(\S+))`)
	decodedOps   = map[string]fold.Op{"INSERT": fold.Insert, "UPDATE": fold.Update, "DELETE": fold.Delete, "TRUNCATE": fold.Truncate}
)

// reference reads the history.
func reference(t *testing.T, conn *pgx.Conn) (out []fold.Transaction) {
	t.Helper()
	rows, err := conn.Query(t.Context(), `select lsn::text, xid::text::bigint, data from pg_logical_slot_get_changes('reference_' || current_database(), null, null,
  'include-timestamp', 'on', 'skip-empty-xacts', 'off')`)
	if err != nil {
		t.Fatal(err)
	}
	var lsn, data string
	var xid uint32
	var tx fold.Transaction
	_, err = pgx.ForEachRow(rows, []any{&lsn, &xid, &data}, func() (err error) {
		switch {
		case strings.HasPrefix(data, "BEGIN"):
			tx = fold.Transaction{XID: xid}
			return nil
		case strings.HasPrefix(data, "COMMIT"):
			if tx.End, err = position.ParseLSN(lsn); err != nil {
				return err
			}
			tx.Commit, err = time.Parse("2006-01-02 15:04:05.999999-07", data[strings.Index(data, "(at ")+4:len(data)-1])
			out = append(out, tx)
			return err
		}
		decoded(&tx, data)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func decoded(tx *fold.Transaction, data string) {
	m := decodedRow.FindStringSubmatch(data)
	if m == nil || strings.HasPrefix(m[1], "private.") || m[1] == "tidemark.slot" { // they are not published
		return
	}
	tx.Published = true
	for name := range strings.SplitSeq(strings.ReplaceAll(m[1], `"`, ""), ", ") {
		for _, table := range archivedTables {
			if table.String() == name {
				tx.Changes = append(tx.Changes, decodedChange(table, decodedOps[m[2]], m[3]))
			}
		}
	}
}

func decodedChange(table fold.Table, op fold.Op, text string) fold.Change {
	c := fold.Change{Op: op, Table: table.String()}
	before, after, both := strings.Cut(text, "new-tuple:")
	if !both && op != fold.Delete {
		before, after = "", text
	}
	if op == fold.Insert || op == fold.Update {
		c.New, _ = decodedTuple(table, after)
	}
	if before != "" && op != fold.Truncate {
		c.Old, c.OldSet = decodedTuple(table, before)
	}
	return c
}

func decodedTuple(table fold.Table, text string) ([]fold.Value, []bool) {
	values, set := make([]fold.Value, len(table.Columns)), make([]bool, len(table.Columns))
	for _, m := range decodedValue.FindAllStringSubmatch(text, -1) {
		for i, col := range table.Columns {
			if col.Name == m[1] {
				set[i] = true
				if m[3] == "" {
					values[i] = v(m[2] + m[4])
				}
			}
		}
	}
	return values, set
}

// timeline folds the history. change may bend a transaction and the sums behind it; false leaves it out.
func (a *archived) timeline(t *testing.T, change func(tx *fold.Transaction, sums map[string]fold.Sum) bool) *fold.Timeline {
	t.Helper()
	l, state := fold.NewTimeline(archivedTables), fold.NewState(archivedTables)
	for _, tx := range a.history {
		touched, err := state.Apply(tx)
		if err != nil {
			t.Fatal(err)
		}
		sums := map[string]fold.Sum{}
		for _, table := range touched {
			sums[table] = state.Sum(table)
		}
		if change != nil && !change(&tx, sums) {
			continue
		}
		if err := l.Add(tx, sums); err != nil {
			t.Fatal(err)
		}
	}
	l.Cover(a.end)
	return l
}

func digestTables(ctx context.Context, tx pgx.Tx, tables []fold.Table) (map[string]fold.Sum, error) {
	out := map[string]fold.Sum{}
	for _, table := range tables {
		state, err := readTable(ctx, tx, table)
		if err != nil {
			return nil, err
		}
		out[table.String()] = state.Sum(table.String())
	}
	return out, nil
}

func readRows(ctx context.Context, tx pgx.Tx, table fold.Table) (map[string]uint64, error) {
	state, err := readTable(ctx, tx, table)
	if err != nil {
		return nil, err
	}
	return state.Rows(table.String()), nil
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

func (a *archived) restore(t *testing.T) *Restore {
	t.Helper()
	r := &Restore{
		Command: a.command(t), ArchiveURL: a.archive, AdminURL: pgtest.Database(t, 0), Tables: archivedTables, Timeline: a.timeline(t, nil),
		Digest: digestTables, Rows: readRows, Rand: newRand(rand.Uint64()), Log: slog.New(slog.DiscardHandler),
	}
	return r
}
