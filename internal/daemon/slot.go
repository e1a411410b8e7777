package daemon

import "github.com/prometheus/client_golang/prometheus"

// slotCollector shows the slot as the heartbeat last saw it.
type slotCollector struct{ s *Service }

var (
	slotRetained = prometheus.NewDesc("tidemark_slot_retained_bytes", "WAL that the primary keeps for us.", nil, nil)
	slotSafe     = prometheus.NewDesc("tidemark_slot_safe_bytes", "WAL that may still be written before the slot may be lost; -1 without a limit.", nil, nil)
	slotActive   = prometheus.NewDesc("tidemark_slot_active", "1 while a process of the primary uses the slot.", nil, nil)
)

// Describe sends the descriptions.
func (c *slotCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- slotRetained
	ch <- slotSafe
	ch <- slotActive
}

// Collect sends what is known; nothing before the first look.
func (c *slotCollector) Collect(ch chan<- prometheus.Metric) {
	slot := c.s.heartbeat.Status().Slot
	if !slot.Exists {
		return
	}
	active := 0.0
	if slot.Active {
		active = 1
	}
	ch <- prometheus.MustNewConstMetric(slotRetained, prometheus.GaugeValue, float64(slot.Retained))
	ch <- prometheus.MustNewConstMetric(slotSafe, prometheus.GaugeValue, float64(slot.Safe))
	ch <- prometheus.MustNewConstMetric(slotActive, prometheus.GaugeValue, active)
}
