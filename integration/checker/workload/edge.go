package workload

import (
	"context"
	"errors"
	"fmt"
)

// Edge makes two commits that come right behind the last thing that the service can have acknowledged: while the load is paused it prepares two
// transactions, calls between, where the caller stops the service after it has caught up, and then commits both, one behind the
// other. It reports whether the slot's confirmed position really was the place where the first commit record begins; the checkpointer may
// have written something meanwhile. Both are in the ledger as session -1.
func (l *Load) Edge(ctx context.Context, between func() error) (bool, error) {
	if err := l.cfg.validate(); err != nil {
		return false, fmt.Errorf("check configuration of the load: %w", err)
	}
	if err := l.Pause(ctx); err != nil {
		return false, err
	}
	defer l.Resume()
	s := newSession(l, edgeSession)
	defer s.close()
	s.grace(ctx)
	l.mu.Lock()
	s.seq = l.edges
	l.edges += 2
	l.mu.Unlock()
	exact, err := s.edge(ctx, between)
	if err != nil {
		if s.conn != nil && s.lost() {
			err = errors.Join(err, s.connect(ctx)) // nothing stays prepared
		}
		return false, fmt.Errorf("commit at the edge: %w", err)
	}
	return exact, nil
}

func (s *session) edge(ctx context.Context, between func() error) (bool, error) {
	if err := s.connect(ctx); err != nil || s.conn == nil {
		return false, errors.Join(err, ctx.Err())
	}
	var gids []string
	for _, sh := range []*shape{bag, always} {
		gid, err := s.prepare(plan{kind: "edge", steps: one(sh.table, sh.insert(s.r, 1))})
		if err == nil && gid == "" {
			err = errors.New("prepare a transaction: the server aborted it, or the connection is lost")
		}
		if err != nil {
			return false, errors.Join(err, s.give(gids))
		}
		gids = append(gids, gid)
	}
	if err := between(); err != nil {
		return false, errors.Join(err, s.give(gids))
	}
	at, err := s.exec("select confirmed_flush_lsn = pg_current_wal_insert_lsn() from pg_replication_slots where slot_name = " + literal(of(s.load.cfg.Slot)))
	if err != nil {
		return false, errors.Join(explain(err), s.give(gids))
	}
	exact := len(at[0].Rows) == 1 && string(at[0].Rows[0][0]) == "t"
	if err := s.commitPair(gids[0], gids[1]); err != nil {
		return false, err
	}
	if s.lost() {
		return false, errors.New("the connection was lost")
	}
	return exact, nil
}

// give up what was prepared.
func (s *session) give(gids []string) error {
	var out []error
	for _, gid := range gids {
		if !s.lost() {
			out = append(out, s.resolve(gid, false))
		}
	}
	return errors.Join(out...)
}
