package rpo

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tidemark/internal/position"
)

// Collector computes the lag metrics when they are asked for, so that what Prometheus sees is never older than its scrape.
type Collector struct {
	monitor *Monitor

	sourceCommit, offset                       *prometheus.Desc
	commit, confirmed, lag, bytes, lsn, target *prometheus.Desc
	status                                     *prometheus.Desc
}

// NewCollector describes the metrics of contract §5 that this package owns.
func NewCollector(m *Monitor) *Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("tidemark_"+name, help, labels, nil)
	}
	return &Collector{
		monitor:      m,
		sourceCommit: desc("source_commit_timestamp_seconds", "Commit time of the newest transaction received from the source."),
		offset:       desc("clock_offset_seconds", "The source's clock minus the service's clock."),
		commit:       desc("copy_commit_timestamp_seconds", "Commit time of the newest transaction that the copy holds.", "copy"),
		confirmed:    desc("copy_confirmed_timestamp_seconds", "Moment on the source's clock up to which the copy lacks nothing.", "copy"),
		lag:          desc("copy_lag_seconds", "Age of the oldest commit that is not durable in the copy.", "copy", "domain"),
		bytes:        desc("copy_lag_bytes", "WAL bytes between the source's end and what the copy holds.", "copy"),
		lsn:          desc("copy_position_lsn", "End LSN of the newest transaction that the copy holds, as a number.", "copy"),
		target:       desc("rpo_target_seconds", "Largest acceptable lag of the copy.", "copy", "tier"),
		status:       desc("rpo_status", "1 for the status that the copy has.", "copy", "tier", "status"),
	}
}

// Describe sends the descriptions.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.sourceCommit, c.offset, c.commit, c.confirmed, c.lag, c.bytes, c.lsn, c.target, c.status,
	} {
		ch <- d
	}
}

// Collect computes and sends the values.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	now := time.Now()
	stream := c.monitor.Stream()
	gauge(c.offset, stream.Offset.Seconds())
	newest := position.Time(0)
	for _, s := range c.monitor.Now(now) {
		tier := strconv.Itoa(s.Tier)
		gauge(c.target, s.Target.Seconds(), s.Name, tier)
		for _, level := range Levels() {
			gauge(c.status, truth(level == s.Level), s.Name, tier, string(level))
		}
		if !s.Known {
			continue
		}
		gauge(c.lag, s.Lag.Seconds(), s.Name, s.Domain)
		gauge(c.bytes, float64(s.Bytes), s.Name)
		gauge(c.lsn, float64(s.Position), s.Name)
		gauge(c.confirmed, seconds(now.Add(stream.Offset).Add(-s.Lag)), s.Name)
		if !s.Commit.IsZero() {
			gauge(c.commit, seconds(s.Commit.Time()), s.Name)
			newest = max(newest, s.Commit)
		}
	}
	if newest != 0 {
		gauge(c.sourceCommit, seconds(newest.Time()))
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }
