package capture

import (
	"github.com/prometheus/client_golang/prometheus"

	"tidemark/internal/change"
	"tidemark/internal/segment"
)

// metrics counts what the journal accepted.
type metrics struct {
	transactions prometheus.Counter
	rows         *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		transactions: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidemark_captured_transactions_total", Help: "Transactions with rows that the journal accepted.",
		}),
		rows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidemark_captured_rows_total", Help: "Row changes that the journal accepted, by operation.",
		}, []string{"op"}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.transactions, m.rows} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// counters is the number of changes of one transaction by operation.
type counters struct{ inserts, updates, deletes, truncates uint64 }

func (c *counters) add(meta []segment.Rows) {
	for _, r := range meta {
		c.inserts += uint64(r.Inserts)
		c.updates += uint64(r.Updates)
		c.deletes += uint64(r.Deletes)
		c.truncates += uint64(r.Truncates)
	}
}

func (m *metrics) committed(c counters) {
	m.transactions.Inc()
	for _, n := range []struct {
		op    change.Op
		count uint64
	}{{change.Insert, c.inserts}, {change.Update, c.updates}, {change.Delete, c.deletes}, {change.Truncate, c.truncates}} {
		m.rows.WithLabelValues(n.op.String()).Add(float64(n.count))
	}
}
