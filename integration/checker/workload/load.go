package workload

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Load is a load on one database, which had no other before. Run is called once; the other methods may be called at any
// time from any goroutine.
type Load struct {
	cfg   Config
	gate  *gate
	limit limit
	kinds []kind

	mu       sync.Mutex
	outcomes []Outcome
	counts   map[string]int
	horizon  map[int]int64 // by session: its ledger rows up to this one may have been deleted
	unknown  map[int]bool  // by index of the outcome: it was counted as unknown
	edges    int64         // the last seq of Edge
}

// New makes a load; nothing happens before Run. Whoever calls Run or Edge learns of a bad Config.
func New(cfg Config) *Load {
	cfg = cfg.withDefaults()
	l := &Load{cfg: cfg, gate: newGate(), counts: map[string]int{}, horizon: map[int]int64{}, unknown: map[int]bool{}}
	if cfg.Rate > 0 {
		l.limit.gap = time.Duration(float64(time.Second) / cfg.Rate)
	}
	for _, k := range kinds() {
		if len(cfg.Only) == 0 || slices.Contains(cfg.Only, k.name) {
			l.kinds = append(l.kinds, k)
		}
	}
	return l
}

// Run makes the load until ctx ends, and then returns nil. It goes on while the primary is away. When ctx ends, sessions finish what they are
// doing, for 15 seconds at most. An error is one of ours: a statement that cannot work, or a database that refuses us.
func (l *Load) Run(ctx context.Context) error {
	if err := l.cfg.validate(); err != nil {
		return fmt.Errorf("check configuration of the load: %w", err)
	}
	if err := l.withoutIdentity(ctx); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for id := range l.cfg.Sessions {
		group.Go(func() error { return newSession(l, id).run(ctx) })
	}
	return group.Wait()
}

// withoutIdentity takes the replica identity from the one table that is only inserted into.
func (l *Load) withoutIdentity(ctx context.Context) error {
	s := newSession(l, setupSession)
	defer s.close()
	if !s.grace(ctx) {
		return nil
	}
	for ctx.Err() == nil {
		if err := s.connect(ctx); err != nil || s.conn == nil {
			return err
		}
		_, err := s.exec("alter table public.insert_only replica identity nothing")
		if err == nil {
			return nil
		}
		if !s.usual(err) {
			return fmt.Errorf("prepare the load: %w", explain(err))
		}
		sleep(ctx, 50*time.Millisecond)
	}
	return nil
}

// Pause returns when no session has a transaction open or prepared, and none begins one before Resume. While the primary
// is away, sessions with something unresolved are not quiet. Pauses add up: each needs its Resume.
func (l *Load) Pause(ctx context.Context) error {
	if err := l.gate.close(ctx); err != nil {
		return fmt.Errorf("wait for quiet sessions: %w", err)
	}
	return nil
}

// Resume ends a Pause.
func (l *Load) Resume() { l.gate.open() }

// Outcomes returns the result of every transaction of the ledger so far, in the order of their begin. Edge's are of session -1.
func (l *Load) Outcomes() []Outcome {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.outcomes)
}

// Counts returns what was done: transactions by result, rows, reconnects, and by kind ("kind/x", and "acked/x" for those that
// committed).
func (l *Load) Counts() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.counts)
}

func (l *Load) count(name string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[name] += n
}

// register makes room for an outcome, which is unknown until settled.
func (l *Load) register(session int, seq int64) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.outcomes = append(l.outcomes, Outcome{Session: session, Seq: seq})
	return len(l.outcomes) - 1
}

// settle notes what came of a transaction. More than once only for a prepared one that was unknown.
func (l *Load) settle(tx transaction, result Result, sqlstate string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if tx.outcome >= 0 {
		l.outcomes[tx.outcome].Result = result
		if l.unknown[tx.outcome] {
			l.counts["transactions/"+Unknown.String()]--
		}
		l.unknown[tx.outcome] = result == Unknown
	}
	l.counts["transactions/"+result.String()]++
	if result == Acked {
		l.counts["acked/"+tx.plan.kind]++
	}
	if l.cfg.Journal != nil {
		l.cfg.Journal(Entry{Time: time.Now(), Session: tx.session, Seq: tx.seq, Kind: tx.plan.kind, Tables: tx.plan.tables(), Result: result, Code: sqlstate})
	}
}

func (l *Load) forget(session int, below int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.horizon[session] = max(l.horizon[session], below)
}

// Horizon returns up to which seq a session's ledger rows may have been deleted again.
func (l *Load) Horizon(session int) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.horizon[session]
}
