package oracle

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"tidemark/integration/checker/fold"
)

// kind is what a message of test_decoding is.
type kind byte

const (
	begin kind = iota
	commit
	change
	truncate
	message
)

// line is one message of test_decoding without its values. It may hold line breaks. Formats are those of
// contrib/test_decoding/test_decoding.c with include-xids and include-timestamp:
//
//	BEGIN 4711
//	table public."It's": UPDATE: old-key: id[integer]:1 new-tuple: id[integer]:2 v[text]:'a''b'
//	table public.a, public.b: TRUNCATE: restart_seqs cascade
//	message: transactional: 1 prefix: p, sz: 2 content:hi
//	COMMIT 4711 (at 2024-02-29 12:00:00.5+00)
type line struct {
	kind   kind
	xid    uint32
	time   time.Time
	op     fold.Op
	tables []name
	values string // of a change: what tuples reads
}

type name struct{ schema, table string }

// String is the table's name as the model has it.
func (n name) String() string { return n.schema + "." + n.table }

// errText says that a message does not have a format that we know. It holds nothing of the message: that has row values.
var errText = errors.New("the message is not as test_decoding writes it")

func bad(what string, at int) error { return fmt.Errorf("%w: %s at byte %d", errText, what, at) }

// parse reads a message except its values.
func parse(s string) (line, error) {
	switch {
	case strings.HasPrefix(s, "table "):
		return parseTable(s)
	case strings.HasPrefix(s, "message: "):
		return line{kind: message}, nil
	case strings.HasPrefix(s, "BEGIN "):
		xid, err := parseXID(s[len("BEGIN "):])
		return line{kind: begin, xid: xid}, err
	case strings.HasPrefix(s, "COMMIT "):
		return parseCommit(s)
	}
	return line{}, bad("unknown opening", 0)
}

func parseXID(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0, bad("no xid", 0)
	}
	return uint32(n), nil
}

func parseCommit(s string) (line, error) {
	number, at, ok := strings.Cut(strings.TrimPrefix(s, "COMMIT "), " (at ")
	if !ok || !strings.HasSuffix(at, ")") {
		return line{}, bad("no commit time", 0)
	}
	xid, err := parseXID(number)
	if err != nil {
		return line{}, err
	}
	t, err := time.Parse("2006-01-02 15:04:05-07", strings.TrimSuffix(at, ")"))
	if err != nil {
		return line{}, bad("no commit time", 0)
	}
	return line{kind: commit, xid: xid, time: t.UTC()}, nil
}

func parseTable(s string) (line, error) {
	c := &cursor{s: s, at: len("table ")}
	var l line
	for {
		n, err := c.name()
		if err != nil {
			return l, err
		}
		l.tables = append(l.tables, n)
		if c.take(": ") {
			break
		}
		if !c.take(", ") {
			return l, bad("no end of the table's name", c.at)
		}
	}
	switch {
	case c.take("INSERT:"):
		l.kind, l.op = change, fold.Insert
	case c.take("UPDATE:"):
		l.kind, l.op = change, fold.Update
	case c.take("DELETE:"):
		l.kind, l.op = change, fold.Delete
	case c.take("TRUNCATE:"):
		l.kind, l.op = truncate, fold.Truncate
		return l, flags(c)
	default:
		return l, bad("unknown operation", c.at)
	}
	if len(l.tables) != 1 {
		return l, bad("several tables", c.at)
	}
	l.values = s[c.at:]
	return l, nil
}

func flags(c *cursor) error {
	if !c.take(" (no-flags)") {
		c.take(" restart_seqs")
		c.take(" cascade")
	}
	if c.at != len(c.s) {
		return bad("unknown flag", c.at)
	}
	return nil
}
