package workload

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// plan is a transaction that is going to be.
type plan struct {
	kind     string
	steps    []step
	quiet    bool // not in the ledger
	last     bool // its ledger row comes last
	rollback bool
	level    string // of isolation
}

// step is a statement of a plan.
type step struct {
	table  string // what it concerns, for the journal
	sql    string
	data   []byte // what COPY reads
	rescue string // when the statement fails in a usual way, this is done and the transaction goes on
}

// transaction is a plan under way.
type transaction struct {
	plan    plan
	session int
	seq     int64 // 0 when it is not in the ledger
	outcome int   // index of its outcome, below 0 when it has none
}

var errUndone = errors.New("server rolled the transaction back")

func (p plan) tables() []string {
	var out []string
	for _, s := range p.steps {
		if s.table != "" && !slices.Contains(out, s.table) {
			out = append(out, s.table)
		}
	}
	return out
}

// exec runs statements and counts the rows that they changed.
func (s *session) exec(sql string) ([]*pgconn.Result, error) {
	results, err := s.conn.Exec(s.ctx, sql).ReadAll()
	rows := 0
	for _, r := range results {
		if r.CommandTag.Insert() || r.CommandTag.Update() || r.CommandTag.Delete() {
			rows += int(r.CommandTag.RowsAffected())
		}
	}
	s.load.count("rows", rows)
	return results, err
}

// usual reports whether an error only ends the transaction: a busy server gives it, or the connection is lost.
func (s *session) usual(err error) bool {
	if c := code(err); c != "" {
		return usual[c]
	}
	return errors.Is(err, errUndone) || s.lost()
}

func (s *session) register(p plan) transaction {
	tx := transaction{plan: p, session: s.id, outcome: -1}
	if !p.quiet {
		s.seq++
		tx.seq = s.seq
		tx.outcome = s.load.register(s.id, s.seq)
	}
	return tx
}

// do makes a transaction. The error is an unusual one.
func (s *session) do(p plan) error {
	tx := s.register(p)
	if err := s.body(tx); err != nil {
		return s.abort(tx, err)
	}
	if p.rollback {
		_, err := s.exec("rollback")
		s.settle(tx, Aborted, code(err))
		return s.unusual(err)
	}
	err := s.expect("commit", "COMMIT")
	s.settle(tx, s.result(err), code(err))
	return s.unusual(err)
}

func (s *session) settle(tx transaction, result Result, sqlstate string) {
	if result == Acked {
		s.acked[tx.plan.kind] = true
	}
	s.load.settle(tx, result, sqlstate)
}

// result is what a client knows after the statement that decides.
func (s *session) result(err error) Result {
	switch {
	case err == nil:
		return Acked
	case s.lost():
		return Unknown // whatever the server said: it may have been said after the commit
	}
	return Aborted
}

func (s *session) unusual(err error) error {
	if err == nil || s.usual(err) {
		return nil
	}
	return explain(err)
}

// expect runs a statement that a failed transaction answers with something else.
func (s *session) expect(sql, tag string) error {
	results, err := s.exec(sql)
	if err == nil && results[len(results)-1].CommandTag.String() != tag {
		return errUndone
	}
	return err
}

// abort ends a transaction that failed before its client asked for COMMIT.
func (s *session) abort(tx transaction, err error) error {
	if !s.lost() {
		if _, err := s.exec("rollback"); err != nil && !s.lost() {
			return explain(err)
		}
	}
	s.settle(tx, Aborted, code(err))
	return s.unusual(err)
}

// body runs everything of a transaction but its end.
func (s *session) body(tx transaction) error {
	level := tx.plan.level
	if level == "" {
		level = s.level()
	}
	opening := "begin isolation level " + level
	if tx.seq != 0 && !tx.plan.last {
		opening += "; " + s.ledgerRow(tx)
	}
	steps := tx.plan.steps
	if len(steps) > 0 && steps[0].data == nil && steps[0].rescue == "" {
		opening += "; " + steps[0].sql
		steps = steps[1:]
	}
	if _, err := s.exec(opening); err != nil {
		return err
	}
	for _, step := range steps {
		if err := s.step(step); err != nil {
			return err
		}
	}
	if tx.seq != 0 && tx.plan.last {
		_, err := s.exec(s.ledgerRow(tx))
		return err
	}
	return nil
}

func (s *session) step(p step) error {
	err := s.try(p)
	if err == nil || p.rescue == "" || s.lost() || !s.usual(err) {
		return err
	}
	_, err = s.exec(p.rescue)
	return err
}

func (s *session) try(p step) error {
	if p.data == nil {
		_, err := s.exec(p.sql)
		return err
	}
	tag, err := s.conn.CopyFrom(s.ctx, bytes.NewReader(p.data), p.sql)
	s.load.count("rows", int(tag.RowsAffected()))
	return err
}

func (s *session) ledgerRow(tx transaction) string {
	return "insert into public.ledger values (" + strings.Join([]string{decimal(int64(s.id)), decimal(tx.seq), literal(of(tx.plan.kind))}, ", ") + ")"
}

// level is mostly the default isolation.
func (s *session) level() string {
	switch s.r.IntN(10) {
	case 0:
		return "serializable"
	case 1, 2:
		return "repeatable read"
	}
	return "read committed"
}
