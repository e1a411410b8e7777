package sink

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts what Runners do; all Runners of a process share one.
type Metrics struct {
	applied *prometheus.CounterVec
	errors  *prometheus.CounterVec
}

// NewMetrics makes the counters and registers them with reg, which may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		applied: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidemark_sink_applied_rows_total",
			Help: "Row changes of transactions that a copy holds completely.",
		}, []string{"copy"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidemark_sink_errors_total",
			Help: "Errors that made a sink start over (transient) or stop (permanent, gap).",
		}, []string{"copy", "class"}),
	}
	if reg != nil {
		reg.MustRegister(m.applied, m.errors)
	}
	return m
}
