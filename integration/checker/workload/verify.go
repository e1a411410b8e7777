package workload

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Verify compares the ledger table with the outcomes: acked rows are there, aborted ones are not, and there is no row of a
// transaction that nobody began. Rows below a session's horizon are not looked at. The load must be paused or ended. Any
// database that should hold all of the ledger can be asked.
func (l *Load) Verify(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, "select session, seq from public.ledger")
	if err != nil {
		return fmt.Errorf("read ledger: %w", explain(err))
	}
	type place struct {
		Session int
		Seq     int64
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[place])
	if err != nil {
		return fmt.Errorf("read ledger: %w", explain(err))
	}
	there := map[place]bool{}
	for _, p := range list {
		there[p] = true
	}
	for _, o := range l.Outcomes() {
		p := place{o.Session, o.Seq}
		found := there[p]
		delete(there, p)
		if o.Seq <= l.Horizon(o.Session) {
			continue
		}
		if o.Result == Acked && !found {
			return fmt.Errorf("compare ledger: transaction %d of session %d was acked and is not there", o.Seq, o.Session)
		}
		if o.Result == Aborted && found {
			return fmt.Errorf("compare ledger: transaction %d of session %d was aborted and is there", o.Seq, o.Session)
		}
	}
	if len(there) > 0 {
		return fmt.Errorf("compare ledger: %d rows are of transactions that nobody began", len(there))
	}
	return nil
}
