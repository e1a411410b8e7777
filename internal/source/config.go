package source

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"tidemark/internal/change"
	"tidemark/internal/position"
	"tidemark/internal/postgres"
)

// Config says which primary, and what is ours on it. Only URL has no default.
type Config struct {
	URL string
	// Name is the application_name of the replication connection, and so the name that synchronous_standby_names knows.
	Name        string
	Slot        string
	Publication Publication
	// Heartbeat is the interval of the heartbeat, from 100 ms to 1 minute.
	Heartbeat time.Duration
	// WALBudget is how many bytes of WAL the primary may keep for us before Check warns (at 80 %) and fails (at 100 %).
	WALBudget int64
}

// Publication names the publication and chooses its tables with patterns such as public.* or *.*, in which * stands for
// any text. The part before the first dot is the schema's.
type Publication struct {
	Name    string
	Tables  []string
	Exclude []string
}

// WithDefaults fills in what is zero.
func (c Config) WithDefaults() Config {
	if c.Name == "" {
		c.Name = "tidemark"
	}
	if c.Slot == "" {
		c.Slot = "tidemark"
	}
	if c.Publication.Name == "" {
		c.Publication.Name = "tidemark"
	}
	if len(c.Publication.Tables) == 0 {
		c.Publication.Tables = []string{"*.*"}
	}
	if c.Heartbeat == 0 {
		c.Heartbeat = time.Second
	}
	if c.WALBudget == 0 {
		c.WALBudget = 10 << 30
	}
	return c
}

// slotName is PostgreSQL's own rule (ReplicationSlotValidateName).
var slotName = regexp.MustCompile(`^[a-z0-9_]{1,63}$`)

// Validate checks values after WithDefaults. The error names the key.
func (c Config) Validate() error {
	switch {
	case c.URL == "":
		return fmt.Errorf("source.url is not set")
	case !slotName.MatchString(c.Slot):
		return fmt.Errorf("source.slot is %q: want 1 to 63 of a-z, 0-9 and _", c.Slot)
	case c.Publication.Name == "" || len(c.Publication.Name) > 63:
		return fmt.Errorf("source.publication.name is %q: want 1 to 63 bytes", c.Publication.Name)
	case c.Heartbeat < 100*time.Millisecond || c.Heartbeat > time.Minute:
		return fmt.Errorf("source.heartbeat is %v: want 100ms to 1m", c.Heartbeat)
	case c.WALBudget < 0:
		return fmt.Errorf("source.wal_budget is negative")
	}
	for _, list := range [][]string{c.Publication.Tables, c.Publication.Exclude} {
		for _, p := range list {
			if _, err := parsePattern(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// Identity is what tells one source's history from another's. Every journal segment names it.
type Identity struct {
	SystemID      string
	Timeline      uint32
	Database      string
	ServerVersion postgres.Version
	// Generation is the slot's consistent point at its creation; zero when it is not known.
	Generation position.LSN
}

// pattern is a table pattern, one regular expression for each half.
type pattern struct{ schema, table *regexp.Regexp }

func parsePattern(text string) (pattern, error) {
	schema, table, ok := strings.Cut(text, ".")
	if !ok || schema == "" || table == "" {
		return pattern{}, fmt.Errorf("source.publication: pattern %q: want schema.table, where * stands for any text", text)
	}
	return pattern{glob(schema), glob(table)}, nil
}

func glob(s string) *regexp.Regexp {
	return regexp.MustCompile(`(?s)^` + strings.ReplaceAll(regexp.QuoteMeta(s), `\*`, `.*`) + `$`)
}

// wants reports whether a table of the application is chosen. Our own schema never is: its tables are listed apart.
func (p Publication) wants(schema, table string) bool {
	return schema != change.Own && matches(p.Tables, schema, table) && !matches(p.Exclude, schema, table)
}

func matches(list []string, schema, table string) bool {
	for _, text := range list {
		p, err := parsePattern(text)
		if err == nil && p.schema.MatchString(schema) && p.table.MatchString(table) {
			return true
		}
	}
	return false
}
