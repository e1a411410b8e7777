package workload

import (
	"errors"
	"log/slog"
	"slices"
	"time"
)

// Config says what load to make. URL and Log are required.
type Config struct {
	URL  string // of the primary, as a superuser, not through a proxy
	Slot string // the service's slot; Edge compares its position
	Seed uint64
	// Sessions is how many connections there are, 1 to 32; default 8.
	Sessions int
	// Rate is the most transactions a second of all sessions together; 0 sets no limit.
	Rate float64
	// Pause is the mean of the random pause between two transactions of a session; default 10 ms, below 0 none.
	Pause time.Duration
	// Only limits the load to these kinds; default all, see Kinds.
	Only []string
	Log  *slog.Logger
	// Journal, if set, is given every transaction. Sessions call it one at a time; it must not wait for them.
	Journal func(Entry)
}

func (c Config) withDefaults() Config {
	if c.Sessions == 0 {
		c.Sessions = 8
	}
	if c.Pause == 0 {
		c.Pause = 10 * time.Millisecond
	}
	return c
}

func (c Config) validate() error {
	switch {
	case c.URL == "" || c.Log == nil:
		return errors.New("URL and log are required")
	case c.Sessions < 1 || c.Sessions > 32:
		return errors.New("sessions must be 1 to 32")
	}
	for _, name := range c.Only {
		if !slices.Contains(Kinds(), name) {
			return errors.New("there is no kind of transaction named " + name)
		}
	}
	return nil
}

// Result is what a client knows of a transaction.
type Result byte

// The results. Unknown is also that of a prepared transaction that is not resolved yet.
const (
	Unknown Result = iota
	Acked
	Aborted
)

// String is the result in a word.
func (r Result) String() string { return [...]string{"unknown", "acked", "aborted"}[r] }

// MarshalText is String.
func (r Result) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Outcome is the result of a transaction of the ledger.
type Outcome struct {
	Session int
	Seq     int64
	Result  Result
}

// Entry is a line of the load's journal. A transaction whose result becomes known later has two lines. Seq is 0 for one
// that is not in the ledger.
type Entry struct {
	Time    time.Time `json:"time"`
	Session int       `json:"session"`
	Seq     int64     `json:"seq,omitempty"`
	Kind    string    `json:"kind"`
	Tables  []string  `json:"tables,omitempty"`
	Result  Result    `json:"result"`
	Code    string    `json:"sqlstate,omitempty"` // why it was aborted, where the server said so
}
