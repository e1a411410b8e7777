package check

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"tidemark/internal/position"

	"tidemark/integration/checker/fold"
)

// dumpedRow is what we read of a line of `journal dump --format json`.
type dumpedRow struct {
	LSN     position.LSN
	Ordinal uint32
	Xid     uint32
	Time    time.Time `json:"commit_time"`
	Op      string
	Tables  []string
}

// dumpedTransaction is a transaction of the journal.
type dumpedTransaction struct {
	end    position.LSN
	xid    uint32
	commit time.Time
	rows   uint32
	counts map[counted]int // of all tables, Tidemark's own included, under the names that the dump gives them
}

// readDump groups the lines by transaction, and makes sure that changes are numbered from 0 without a gap.
func readDump(text string) ([]dumpedTransaction, error) {
	var out []dumpedTransaction
	for d, n := json.NewDecoder(strings.NewReader(text)), 1; ; n++ {
		var row dumpedRow
		if err := d.Decode(&row); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, fmt.Errorf("line %d cannot be read: %w", n, err)
		}
		if k := len(out); k == 0 || row.LSN > out[k-1].end {
			out = append(out, dumpedTransaction{end: row.LSN, xid: row.Xid, commit: row.Time, counts: map[counted]int{}})
		}
		tx := &out[len(out)-1]
		switch {
		case row.LSN < tx.end:
			return nil, fmt.Errorf("line %d is of transaction %s, behind %s", n, row.LSN, tx.end)
		case row.Xid != tx.xid || !row.Time.Equal(tx.commit):
			return nil, fmt.Errorf("line %d has another xid or commit time than its transaction %s", n, row.LSN)
		case row.Ordinal != tx.rows:
			return nil, fmt.Errorf("change %d of transaction %s comes where %d is due", row.Ordinal, row.LSN, tx.rows)
		}
		tx.rows += uint32(max(1, len(row.Tables))) // each table of a TRUNCATE is a change
		for _, table := range row.Tables {
			tx.counts[counted{table, row.Op}]++
		}
	}
}

// match compares the journal's transactions with the timeline's published ones, both behind from.
func (c *Journal) match(have []dumpedTransaction, from, end position.LSN) error {
	want := c.Timeline.Transactions(from, end)
	for _, tx := range have {
		if tx.end <= from || tx.end > end {
			return Violated(journalCheck, tx.end, "transaction %s is behind the journal's end at %s, or not behind %s where the dump began", tx.end, end, from)
		}
		for len(want) > 0 && want[0].End < tx.end {
			if want[0].Published {
				return Violated(journalCheck, want[0].End, "transaction %s (xid %d) is missing", want[0].End, want[0].XID)
			}
			want = want[1:]
		}
		if len(want) > 0 && want[0].End == tx.end && want[0].Published {
			if err := c.same(tx, want[0]); err != nil {
				return err
			}
			want = want[1:]
			continue
		}
		// Before the timeline begins, Tidemark writes into its own tables already.
		if len(tx.application()) > 0 || len(c.Timeline.Transactions(0, tx.end)) > 0 {
			return Violated(journalCheck, tx.end, "transaction %s (xid %d) is not in the reference log, or not published", tx.end, tx.xid)
		}
	}
	if missing := firstPublished(want); missing != nil {
		return Violated(journalCheck, missing.End, "transaction %s (xid %d) is missing, the journal ends at %s", missing.End, missing.XID, end)
	}
	return nil
}

// same compares a transaction of the journal with the timeline's.
func (c *Journal) same(tx dumpedTransaction, want fold.Entry) error {
	counts := map[counted]int{}
	for _, n := range want.Counts {
		counts[counted{n.Table, n.Op.String()}] += n.N
		c.add("changes", n.N)
	}
	c.add("transactions", 1)
	wrong := unequal(tx.application(), counts, "the reference log")
	switch {
	case tx.xid != want.XID:
		wrong = fmt.Sprintf("its xid is %d there", tx.xid)
	case tx.commit.UnixMicro() != want.Commit.UnixMicro():
		wrong = fmt.Sprintf("it committed at %s, the journal says %s", micro(want.Commit), micro(tx.commit))
	}
	if wrong != "" {
		return Violated(journalCheck, tx.end, "transaction %s (xid %d): %s", tx.end, want.XID, wrong)
	}
	return nil
}

// own reports whether a table is Tidemark's.
func own(name string) bool { return strings.HasPrefix(name, "tidemark.") }

// application is the counts of the application's tables.
func (tx dumpedTransaction) application() map[counted]int {
	out := map[counted]int{}
	for kind, n := range tx.counts {
		if !own(kind.table) {
			out[kind] = n
		}
	}
	return out
}
