package apply

import (
	"context"
	"fmt"

	"tidemark/internal/change"
	"tidemark/internal/postgres"
)

// setSequence puts a sequence of the target ahead of the source's last known value by 32 increments, in its direction and within
// its bounds; values drawn on the source since then are unknown, and 32 is what PostgreSQL itself keeps ahead in its
// WAL. At a bound the sequence is left with that one value to give.
const setSequence = `
select setval(s.oid::regclass, least(greatest(s.ahead, s.low), s.high)::bigint, s.called and s.ahead between s.low and s.high)
from (
	select q.seqrelid as oid, q.seqmin::numeric as low, q.seqmax::numeric as high, $4::boolean as called,
		$3::numeric + 32 * coalesce($5::numeric, q.seqincrement) as ahead
	from pg_sequence q join pg_class c on c.oid = q.seqrelid join pg_namespace n on n.oid = c.relnamespace
	where n.nspname = $1::name and c.relname = $2::name
) s`

// sequenceColumns are the columns of the source's tidemark.sequence, as setSequence's parameters.
var sequenceColumns = [...]string{"schema_name", "sequence_name", "last_value", "is_called", "increment"}

// own applies a row of a table of schema tidemark: a sequence's value is set; nothing else has an effect.
func (a *Applier) own(ctx context.Context, row change.Row) error {
	if row.Relation.Name != "sequence" || row.Op == change.Delete {
		return nil
	}
	params := make([][]byte, len(sequenceColumns))
	for i, name := range sequenceColumns {
		for j, c := range row.Relation.Columns {
			if c.Name == name && j < len(row.New) && row.New[j].Kind == change.Text {
				params[i] = row.New[j].Data
			}
		}
		if params[i] == nil && name != "increment" {
			a.log.Debug("sequence row without a value", "column", name, "at", placeOf(a.tx, &row))
			return nil
		}
	}
	name := string(params[0]) + "." + string(params[1])
	a.start()
	a.pipe.SendQueryParams(setSequence, params, []uint32{oidText, oidText, oidText, oidText, oidText}, nil, nil)
	a.expect(step{
		table: name, grant: fmt.Sprintf("grant update on sequence %s to %s", postgres.Ident(string(params[0]), string(params[1])), grantee), op: row.Op, commit: a.tx.Commit, ordinal: row.Ordinal, any: true,
		none: func() { a.log.Debug("sequence is missing on the target", "sequence", name) },
	})
	return a.sent(ctx, len(name)+64)
}
