package apply

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"tidemark/internal/change"
	"tidemark/internal/position"
	"tidemark/internal/postgres"
)

// ErrFenced says that somebody else moved or removed the stream's progress row while we held it: another applier, or a
// promotion. Retrying cannot be right.
var ErrFenced = errors.New("progress row was changed by somebody else")

// ErrLocked says that another session holds the stream's lock: another applier, or a backend of a lost connection that
// has not ended yet. Retrying helps in the second case.
var ErrLocked = errors.New("another session applies this stream")

// ErrDiverged says that a change did not find the row that it must find, or found several: the target is not what the source was.
var ErrDiverged = errors.New("target differs from source")

// ErrNotSeeded says that the target holds no copy of the source yet: there is no progress row.
var ErrNotSeeded = errors.New("target has no progress row for this stream")

// StreamError says that the target is fed by another source.
type StreamError struct{ Want, Have string }

// Error names both streams.
func (e *StreamError) Error() string {
	return fmt.Sprintf("target is fed by stream %q, not by %q: use another target, or empty this one and seed it anew", e.Have, e.Want)
}

// RightsError says which right the applying role lacks, and the SQL with which an administrator grants it.
type RightsError struct {
	What string
	SQL  string
	Err  error
}

// Error names the right and the SQL.
func (e *RightsError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("%s: right is missing; as an administrator run: %s", e.What, e.SQL)
	}
	return fmt.Sprintf("%s: %v; as an administrator run: %s", e.What, e.Err, e.SQL)
}

// Unwrap gives the server's error, without row values; nil where the lack was found by looking.
func (e *RightsError) Unwrap() error { return e.Err }

// MismatchError says where a table of the target is not as the source's. Applying can go on once that is mended.
type MismatchError struct {
	Table   string
	Column  string // empty when the whole table is meant
	Problem string
}

// Error says what to do.
func (e *MismatchError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "table %s on the target", e.Table)
	if e.Column != "" {
		fmt.Fprintf(&b, ", column %q", e.Column)
	}
	return b.String() + ": " + e.Problem + "; make the same change there as on the source, and applying goes on"
}

// RowError is a change that the target refused. It names the place, never a value.
type RowError struct {
	Table string
	Op    change.Op
	// Commit is the start LSN of the transaction's commit record, Ordinal the change in it.
	Commit  position.LSN
	Ordinal uint32
	Err     error
}

// Error names table, operation and place.
func (e *RowError) Error() string {
	return fmt.Sprintf("apply %s to %s (commit at %s, ordinal %d): %v", e.Op, e.Table, e.Commit, e.Ordinal, e.Err)
}

// Unwrap gives the cause.
func (e *RowError) Unwrap() error { return e.Err }

// grantee stands for our role in a step's grant.
const grantee = "%role%"

// grants gives the SQL that lets our role write a relation's table.
func grants(schema, quoted string) string {
	return fmt.Sprintf("grant usage on schema %s to %s; grant select, insert, update, delete, truncate on %s to %s", postgres.Ident(schema), grantee, quoted, grantee)
}

// explain takes the row values out of an error of a statement that was sent for step s.
func (a *Applier) explain(s step, err error) error {
	var pe *pgconn.PgError
	if !errors.As(err, &pe) {
		return fmt.Errorf("apply to target: %w", err)
	}
	if pe.Where != "" { // a function spoke, and it may choose any SQLSTATE and quote any value
		silent := *pe
		silent.Message = "a function or type of the target raised an error"
		pe, err = &silent, &silent
	}
	err = postgres.Explain(err)
	switch {
	case strings.HasPrefix(pe.Code, "57"), strings.HasPrefix(pe.Code, "08"), s.op == 0:
		return fmt.Errorf("apply to target: %w", err)
	case pe.Code == "42501":
		return &RightsError{What: fmt.Sprintf("apply %s to %s", s.op, s.table), SQL: strings.ReplaceAll(s.grant, grantee, postgres.Ident(a.role)), Err: err}
	case pe.Code == "0A000" && s.op == change.Truncate:
		return &MismatchError{Table: s.table, Problem: "is referred to by a foreign key of a table that the source did not truncate with it"}
	}
	return &RowError{Table: s.table, Op: s.op, Commit: s.commit, Ordinal: s.ordinal, Err: err}
}
