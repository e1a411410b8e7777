package event

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"tidemark/internal/change"
)

// Commit appends the marker of the transaction's end, with the number of changes published per table. It refuses a
// transaction of which it has not seen every row, encoded or skipped.
func (e *Encoder) Commit(into []Message) ([]Message, error) {
	if e.seen != e.tx.Rows {
		return into, fmt.Errorf("encode end of transaction %s: it has %d changes and %d were given", e.end, e.tx.Rows, e.seen)
	}
	into, m := grow(into)
	m.Subject = CommitSubject(e.prefix, e.source.Database)
	m.Header = e.header(e.tx.Rows)
	b := append(m.Data[:0], `{"op":"`+OpCommit+`","database":`...)
	b = appendString(b, []byte(e.source.Database))
	b = strconv.AppendUint(append(b, `,"rows":`...), uint64(e.tx.Rows), 10)
	b = e.tables(append(b, `,"tables":{`...))
	m.Data = e.finish(append(b, '}'), e.tx.Rows)
	return into, nil
}

// tables appends the counts by table name. A table whose definition changed within the transaction has a shape per
// definition, whose counts are added up.
func (e *Encoder) tables(b []byte) []byte {
	slices.SortStableFunc(e.touched, func(x, y *shape) int { return cmp.Compare(x.table(), y.table()) })
	for i := 0; i < len(e.touched); {
		s := e.touched[i]
		total := s.counts
		for i++; i < len(e.touched) && e.touched[i].table() == s.table(); i++ {
			for op, n := range e.touched[i].counts {
				total[op] += n
			}
		}
		if s.own {
			continue
		}
		if b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		b = appendCounts(append(appendString(b, []byte(s.table())), ':'), total)
	}
	return b
}

func (s *shape) table() string { return tableName(s.relation) }

func appendCounts(b []byte, counts [change.Truncate + 1]uint32) []byte {
	b = append(b, '{')
	for op := change.Insert; op <= change.Truncate; op++ {
		if counts[op] == 0 {
			continue
		}
		if b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), op.String()...), `":`...)
		b = strconv.AppendUint(b, uint64(counts[op]), 10)
	}
	return append(b, '}')
}
