package journal

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	bytes prometheus.Gauge
	fsync prometheus.Histogram
}

// newMetrics makes the metrics and registers them; reg may be nil. A journal that is opened again goes on with the ones it had.
func newMetrics(reg prometheus.Registerer) (metrics, error) {
	m := metrics{
		bytes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tidemark_journal_bytes", Help: "Size of all segments of the journal.",
		}),
		fsync: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tidemark_journal_fsync_duration_seconds", Help: "Duration of the journal's fsyncs.",
			Buckets: prometheus.ExponentialBuckets(50e-6, 2, 18),
		}),
	}
	if reg == nil {
		return m, nil
	}
	var err error
	m.bytes, err = register(reg, m.bytes)
	if err == nil {
		m.fsync, err = register(reg, m.fsync)
	}
	return m, err
}

func register[C prometheus.Collector](reg prometheus.Registerer, c C) (C, error) {
	err := reg.Register(c)
	if twice, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if old, ok := twice.ExistingCollector.(C); ok {
			return old, nil
		}
	}
	if err != nil {
		return c, fmt.Errorf("register the journal's metrics: %w", err)
	}
	return c, nil
}
