package config

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// Copies are the names that a copy can have.
var copies = []string{"journal", "standby", "nats", "archive"}

// Validate checks what only the configuration as a whole can tell; each stage checks its own part when it is built.
// Every error wraps ErrInvalid and names the key, what is wrong, and what would be right.
func (c Config) Validate() error {
	for _, check := range []func() error{c.checkSource, c.checkAcknowledge, c.checkSinks, c.checkRPO, c.checkHTTP, c.checkLog} {
		if err := check(); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	return nil
}

func (c Config) checkSource() error {
	if c.Source.URL == "" {
		return fmt.Errorf("source.url is not set: name the primary, such as postgres://tidemark@primary:5432/app, or use --source")
	}
	if c.Source.Slot == "" || c.Source.Publication.Name == "" {
		return fmt.Errorf("source.slot and source.publication.name must not be empty")
	}
	if d := time.Duration(c.Source.Heartbeat); d < 100*time.Millisecond || d > time.Minute {
		return fmt.Errorf("source.heartbeat is %v: want 100ms to 1m", d)
	}
	return nil
}

func (c Config) checkAcknowledge() error {
	set := c.AcknowledgeSet()
	if !slices.Contains(set, "journal") {
		return fmt.Errorf("source.acknowledge is %q: it must contain journal", c.Source.Acknowledge)
	}
	on := map[string]bool{"journal": true, "standby": c.Sinks.Standby.On(), "nats": c.Sinks.NATS.On(), "archive": c.Sinks.Archive.On()}
	for _, name := range set {
		if !on[name] {
			return fmt.Errorf("source.acknowledge names %q, which is not an enabled copy (%s)", name, strings.Join(copies, ", "))
		}
	}
	return nil
}

// AcknowledgeSet lists the copies of source.acknowledge.
func (c Config) AcknowledgeSet() []string { return strings.Split(c.Source.Acknowledge, "+") }

func (c Config) checkSinks() error {
	if c.Sinks.NATS.Format != "json" {
		return fmt.Errorf("sinks.nats.format is %q: this version publishes json", c.Sinks.NATS.Format)
	}
	if c.Sinks.Standby.DDL != "stop" {
		return fmt.Errorf("sinks.standby.ddl is %q: this version knows stop", c.Sinks.Standby.DDL)
	}
	return nil
}

func (c Config) checkRPO() error {
	for n, tier := range c.RPO.Tiers {
		if tier.Target <= 0 {
			return fmt.Errorf("rpo.tiers.%d.target must be above 0", n)
		}
	}
	for name, copied := range c.RPO.Copies {
		if !slices.Contains(copies, name) {
			return fmt.Errorf("rpo.copies names %q: want one of %s", name, strings.Join(copies, ", "))
		}
		if _, ok := c.RPO.Tiers[copied.Tier]; !ok {
			return fmt.Errorf("rpo.copies.%s.tier is %d: there is no such tier in rpo.tiers", name, copied.Tier)
		}
	}
	return nil
}

func (c Config) checkHTTP() error {
	host, _, err := net.SplitHostPort(c.HTTP.Listen)
	if err != nil {
		return fmt.Errorf("http.listen is %q: want host:port", c.HTTP.Listen)
	}
	ip := net.ParseIP(host)
	loopback := host == "localhost" || (ip != nil && ip.IsLoopback())
	if !loopback && c.HTTP.TokenFile == "" {
		return fmt.Errorf("http.listen is %q, which others can reach: set http.token_file, or listen on 127.0.0.1", c.HTTP.Listen)
	}
	if (c.HTTP.TLS.Cert == "") != (c.HTTP.TLS.Key == "") {
		return fmt.Errorf("http.tls needs both cert and key")
	}
	return nil
}

func (c Config) checkLog() error {
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log.Level) {
		return fmt.Errorf("log.level is %q: want debug, info, warn or error", c.Log.Level)
	}
	if !slices.Contains([]string{"text", "json"}, c.Log.Format) {
		return fmt.Errorf("log.format is %q: want text or json", c.Log.Format)
	}
	return nil
}
