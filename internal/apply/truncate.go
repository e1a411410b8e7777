package apply

import (
	"context"
	"strings"

	"tidemark/internal/change"
)

// truncate empties all published tables of one TRUNCATE in one statement, as the source did.
func (a *Applier) truncate(ctx context.Context, row change.Row) error {
	var tables, names, rights []string
	for _, rel := range row.Truncated {
		if rel.Schema == change.Own {
			continue
		}
		t, err := a.target(ctx, rel)
		if err != nil {
			return err
		}
		t.forgetValues()
		tables, names = append(tables, t.only+t.table), append(names, rel.String())
		rights = append(rights, t.grant)
	}
	if len(tables) == 0 {
		return nil
	}
	grant := strings.Join(rights, "; ")
	sql := "truncate " + strings.Join(tables, ", ")
	if row.RestartIdentity {
		sql += " restart identity"
		grant += "; and make the role a member of the owner of the tables' sequences"
	}
	a.start()
	a.pipe.SendQueryParams(sql, nil, nil, nil, nil)
	a.expect(step{table: strings.Join(names, ", "), grant: grant, op: row.Op, commit: a.tx.Commit, ordinal: row.Ordinal})
	return a.sent(ctx, len(sql))
}
