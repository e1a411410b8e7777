package demo

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

//go:embed schema.sql
var schema string

// firstRows come after the slot was made, so that the stream tells the whole story.
//
//go:embed rows.sql
var firstRows string

// load is a shop: each transaction does a few things that belong together.
type load struct {
	url          string
	transactions atomic.Int64
	rows         atomic.Int64
}

// paceInterval is the time between two transactions of a session. Everything of the demo shares one machine, two servers and
// their clients included; an unpaced load would measure who gets the processor.
const paceInterval = 8 * time.Millisecond

// run works with the given number of sessions until ctx ends.
func (l *load) run(ctx context.Context, sessions int, seed uint64) error {
	group, ctx := errgroup.WithContext(ctx)
	for i := range sessions {
		group.Go(func() error { return l.session(ctx, rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
	return group.Wait()
}

func (l *load) session(ctx context.Context, r *rand.Rand) error {
	// The session outlives ctx by its last transaction, so that nothing is left unknown when the load ends.
	own := context.WithoutCancel(ctx)
	conn, err := pgx.Connect(own, l.url)
	if err != nil {
		return fmt.Errorf("connect load: %w", err)
	}
	defer conn.Close(own)
	pace := time.NewTicker(paceInterval)
	defer pace.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-pace.C:
		}
		if err := l.transaction(own, conn, r); err != nil {
			return fmt.Errorf("run load: %w", err)
		}
	}
}

// errGiveUp makes a transaction roll back on purpose.
var errGiveUp = errors.New("give up")

func (l *load) transaction(ctx context.Context, conn *pgx.Conn, r *rand.Rand) error {
	var rows int64
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		rows = 0
		step := pick(r)
		n, err := step(ctx, tx, r)
		rows += n
		if err == nil && r.IntN(50) == 0 {
			return errGiveUp
		}
		return err
	})
	if errors.Is(err, errGiveUp) {
		return nil
	}
	if err == nil {
		l.transactions.Add(1)
		l.rows.Add(rows)
	}
	return err
}

type step func(context.Context, pgx.Tx, *rand.Rand) (int64, error)

func pick(r *rand.Rand) step {
	switch n := r.IntN(100); {
	case n < 35:
		return order
	case n < 60:
		return pay
	case n < 75:
		return visit
	case n < 85:
		return restock
	case n < 92:
		return cancel
	case n < 97:
		return join
	default:
		return forget
	}
}

// do executes statements of a step and counts the rows that they changed.
func do(ctx context.Context, tx pgx.Tx, sql string, args ...any) (int64, error) {
	tag, err := tx.Exec(ctx, sql, args...)
	return tag.RowsAffected(), err
}

func order(ctx context.Context, tx pgx.Tx, r *rand.Rand) (int64, error) {
	n, err := do(ctx, tx, `insert into shop.orders (customer, total, items)
		select $1, $2::numeric / 100, jsonb_build_array(jsonb_build_object('sku', $3::int, 'qty', 2, 'gift', null))
		where exists (select from shop.customers where id = $1)`, 1+r.IntN(500), r.IntN(100_000), r.IntN(50))
	if err != nil {
		return n, err
	}
	m, err := do(ctx, tx, `update shop."Stock.Level" set level = level - 2 where "product id" = $1`, 1+r.IntN(50))
	return n + m, err
}

func pay(ctx context.Context, tx pgx.Tx, r *rand.Rand) (int64, error) {
	n, err := do(ctx, tx, `with o as (update shop.orders set state = 'paid' where id = (
			select id from shop.orders where state = 'new' order by id desc offset $1 limit 1 for update skip locked)
		returning id, total)
		insert into shop.payments (order_id, attempt, amount, receipt, paid)
		select id, 1, total, decode(md5(id::text), 'hex'), localtimestamp from o on conflict do nothing`, r.IntN(20))
	return 2 * n, err
}

func visit(ctx context.Context, tx pgx.Tx, r *rand.Rand) (int64, error) {
	n, err := do(ctx, tx, `insert into shop.visits
		select case when i % 7 = 0 then null else $1::bigint end, 'page ' || i % 3, $2::float8 / 3, '2026-01-01'::date + i
		from generate_series(1, 5) i`, r.IntN(500), r.IntN(1000))
	if err != nil || r.IntN(4) > 0 {
		return n, err
	}
	m, err := do(ctx, tx, `delete from shop.visits where ctid = (
		select ctid from shop.visits order by customer, page limit 1 for update skip locked)`)
	return n + m, err
}

func restock(ctx context.Context, tx pgx.Tx, r *rand.Rand) (int64, error) {
	return do(ctx, tx, `update shop."Stock.Level" set level = level + 100, prices = int4range($1, $1 + 5) where "product id" = $2`,
		r.IntN(1000), 1+r.IntN(50))
}

func cancel(ctx context.Context, tx pgx.Tx, r *rand.Rand) (int64, error) {
	return do(ctx, tx, `delete from shop.orders o where id = (
		select id from shop.orders where state = 'new' order by id offset $1 limit 1 for update skip locked)`, r.IntN(20))
}

func join(ctx context.Context, tx pgx.Tx, r *rand.Rand) (int64, error) {
	return do(ctx, tx, `insert into shop.customers (name, email, tags, profile)
		values ('New "one", \ ' || $1::text, $1::text || '@example.org', array['a,b', null, 'q"'], jsonb_build_object('big', 12345678901234567890))
		on conflict (email) do update set profile = excluded.profile, tags = excluded.tags`, fmt.Sprint(r.IntN(1_000_000)))
}

// forget changes a key and removes a row.
func forget(ctx context.Context, tx pgx.Tx, r *rand.Rand) (int64, error) {
	n, err := do(ctx, tx, `update shop.payments set attempt = attempt + 1, paid = 'infinity' where (order_id, attempt) = (
		select order_id, attempt from shop.payments order by order_id desc offset $1 limit 1 for update skip locked)`, r.IntN(30))
	if err != nil {
		return n, err
	}
	m, err := do(ctx, tx, `delete from shop.payments where (order_id, attempt) = (
		select order_id, attempt from shop.payments order by order_id offset $1 limit 1 for update skip locked)`, r.IntN(30))
	return n + m, err
}
