package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// scriptBatch is how many statements share a transaction: few round trips, yet not so many locks that the server's
// lock table (64 per connection by default) cannot hold them.
const scriptBatch = 200

// ExecScript executes what pg_dump wrote, without psql. Statements run in groups, each group one transaction. Left out
// are psql's own lines and settings that this server does not know (a newer pg_dump writes them); a schema public that exists
// already is no error. Afterwards the session has its own settings again. An error names the script's line and how the
// statement begins; what was executed before it stays. conn must be idle and outside a transaction, and is closed by the
// caller after an error.
func ExecScript(ctx context.Context, conn *pgx.Conn, script []byte) error {
	list, err := executable(ctx, conn, script)
	if err != nil {
		return err
	}
	for group := range slices.Chunk(list, scriptBatch) {
		if err := execGroup(ctx, conn, script, group); err != nil {
			return err
		}
	}
	if _, err := conn.Exec(ctx, "reset all"); err != nil {
		return fmt.Errorf("reset session settings: %w", Explain(err))
	}
	return nil
}

func execGroup(ctx context.Context, conn *pgx.Conn, script []byte, group []statement) error {
	var text bytes.Buffer
	ends, chars := make([]int, 0, len(group)), 0 // in characters, as the server counts
	for _, s := range group {
		before := text.Len()
		text.Write(s.text)
		if !bytes.HasSuffix(s.text, []byte(";")) {
			text.WriteString("\n;")
		}
		text.WriteByte('\n')
		chars += utf8.RuneCount(text.Bytes()[before:])
		ends = append(ends, chars)
	}
	results := conn.PgConn().Exec(ctx, text.String())
	done := 0
	for results.NextResult() {
		if _, err := results.ResultReader().Close(); err != nil {
			break
		}
		done++
	}
	if err := results.Close(); err != nil {
		failed := group[min(culprit(err, ends, done), len(group)-1)]
		return fmt.Errorf("execute line %d of the script (%s): %w", failed.line(script), failed.head(), Explain(err))
	}
	return nil
}

// culprit is the index of the statement that failed: by the place in the text, which a syntax error in any statement has
// before the first is executed, or else the one after those that were done.
func culprit(err error, ends []int, done int) int {
	var pe *pgconn.PgError
	if !errors.As(err, &pe) || pe.Position <= 0 {
		return done
	}
	i, _ := slices.BinarySearch(ends, int(pe.Position))
	return i
}

// executable returns the statements to execute on this server.
func executable(ctx context.Context, conn *pgx.Conn, script []byte) ([]statement, error) {
	rows, err := conn.Query(ctx, "select name from pg_catalog.pg_settings")
	if err != nil {
		return nil, fmt.Errorf("list server settings: %w", Explain(err))
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list server settings: %w", Explain(err))
	}
	known := make(map[string]bool, len(names))
	for _, name := range names {
		known[strings.ToUpper(name)] = true
	}
	var list []statement
	for _, s := range split(script) {
		words := s.words(3)
		switch {
		case len(words) > 1 && words[0] == "SET" && !known[words[1]] && !bytes.Contains(s.text, []byte(".")):
			continue
		case hasPrefix(words, "CREATE", "SCHEMA") && words[2] == "PUBLIC":
			s.text = []byte("CREATE SCHEMA IF NOT EXISTS public;")
		}
		list = append(list, s)
	}
	return list, nil
}

func (st statement) line(script []byte) int { return 1 + bytes.Count(script[:st.start], []byte("\n")) }

// head is how the statement begins: enough to find it, and nothing that is quoted as a string.
func (st statement) head() string {
	first, _, _ := bytes.Cut(st.text, []byte("\n"))
	first, _, _ = bytes.Cut(first, []byte("'"))
	const most = 80
	if len(first) > most {
		first = first[:most]
	}
	return strings.ToValidUTF8(strings.TrimSpace(string(first)), "")
}
