package check

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"tidemark/internal/position"

	"tidemark/integration/checker/fold"
)

// end takes an end marker: what came since the one before must be exactly what the timeline says. An idle marker stands for a
// transaction that changed no table.
func (s *Stream) end(ctx context.Context, m message, d *document) error {
	at := d.Position.LSN
	if err := s.cfg.Timeline.Wait(ctx, at); err != nil {
		return err
	}
	wrong := s.marker(d)
	if wrong == "" {
		wrong = s.reference(d)
	}
	if wrong == "" {
		wrong = s.apply(at)
	}
	if wrong != "" {
		return Violated(streamCheck, at, "message %d, end of transaction %s: %s", m.sequence, at, wrong)
	}
	s.at = d.place()
	s.move(at, len(s.open))
	s.open = nil
	return nil
}

// counted is a kind of change in a transaction.
type counted struct{ table, op string }

// marker compares the end marker with the messages of its transaction. A transaction either changes the application's tables, all of
// whose rows are published, or Tidemark's own, of whose rows none is.
func (s *Stream) marker(d *document) string {
	if d.Rows != d.Position.Rows || d.Rows != d.Position.Ordinal {
		return fmt.Sprintf("it says %d rows, %d rows and ordinal %d", d.Rows, d.Position.Rows, d.Position.Ordinal)
	}
	if n := len(s.open); n > 0 && d.Rows != uint32(n) {
		return fmt.Sprintf("%d of %d rows came", n, d.Rows)
	}
	have, want := map[counted]int{}, map[counted]int{}
	for _, r := range s.open {
		have[counted{quoted(r.schema) + "." + quoted(r.table), r.change.Op.String()}]++
	}
	for table, ops := range d.Tables {
		for op, n := range ops {
			want[counted{table, op}] = n
		}
	}
	return unequal(have, want, "the marker")
}

// quoted is a name as the marker's counts have it.
func quoted(name string) string {
	if name == "" || strings.ContainsAny(name, `."`) {
		return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
	}
	return name
}

func unequal(have, want map[counted]int, who string) string {
	for kind, n := range want {
		if have[kind] != n {
			return fmt.Sprintf("%d times %s of %s came, %s says %d", have[kind], kind.op, kind.table, who, n)
		}
	}
	for kind, n := range have {
		if want[kind] != n {
			return fmt.Sprintf("%d times %s of %s came, %s says %d", n, kind.op, kind.table, who, want[kind])
		}
	}
	return ""
}

// reference compares the transaction, and what was passed over before it, with the timeline. An idle marker may also stand at a frontier,
// where nothing ended: it has neither rows nor xid, and its time is no commit time.
func (s *Stream) reference(d *document) string {
	at, frontier := d.Position.LSN, d.Rows == 0 && d.XID == 0
	passed := s.cfg.Timeline.Transactions(s.Reached(), at)
	var here *fold.Entry
	if n := len(passed); n > 0 && passed[n-1].End == at {
		here, passed = &passed[n-1], passed[:n-1]
	}
	if missing := firstChange(passed); missing != nil {
		return fmt.Sprintf("transaction %s (xid %d) before it is missing", missing.End, missing.XID)
	}
	switch {
	case here == nil && len(s.open) == 0 && len(s.cfg.Timeline.Transactions(0, at)) == 0:
		return "" // Tidemark's own, from before the reference log's beginning
	case frontier && (here == nil || len(here.Counts) == 0):
		return ""
	case here == nil:
		return "there is no such transaction"
	}
	commit, err := commitTime(d.CommitTime)
	switch {
	case err != nil:
		return "its commit time is not written as it should be"
	case d.XID != here.XID:
		return fmt.Sprintf("its xid is %d, not %d", d.XID, here.XID)
	case commit.UnixMicro() != here.Commit.UnixMicro():
		return fmt.Sprintf("its commit time is %s, not %s", d.CommitTime, here.Commit.UTC().Format("15:04:05.000000"))
	}
	have, want := map[counted]int{}, map[counted]int{}
	for _, r := range s.open {
		have[counted{r.change.Table, r.change.Op.String()}]++
	}
	for _, c := range here.Counts {
		want[counted{c.Table, c.Op.String()}] += c.N
	}
	return unequal(have, want, "the reference log")
}

// apply folds the transaction and compares the tables that it touched.
func (s *Stream) apply(at position.LSN) string {
	tx := fold.Transaction{End: at}
	for _, r := range s.open {
		tx.Changes = append(tx.Changes, r.change)
	}
	touched, err := s.fold.Apply(tx)
	if err != nil {
		return fmt.Sprintf("it does not fit what came before: %v", err)
	}
	if len(touched) == 0 {
		return ""
	}
	want := s.cfg.Timeline.At(at)
	slices.Sort(touched)
	for _, table := range touched {
		if have := s.fold.Sum(table); have != want[table] {
			return fmt.Sprintf("%s has %s: %s", table, unlike(have, want[table]), differences(s.cfg.Truth, table, at, s.fold.Rows(table)))
		}
	}
	return ""
}

// unlike says how two sums differ.
func unlike(have, want fold.Sum) string {
	if have.Rows != want.Rows {
		return fmt.Sprintf("%d rows instead of %d", have.Rows, want.Rows)
	}
	return fmt.Sprintf("%d rows with other contents", have.Rows)
}
