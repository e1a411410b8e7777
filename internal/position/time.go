package position

import "time"

// Time is a moment on the source's clock: microseconds since 2000-01-01 UTC, PostgreSQL's own unit in the protocol
// (https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html). Zero means "none".
// Commit times are neither unique nor monotonic in commit order: they name a moment, never an order.
type Time int64

const postgresEpochMicro = 946684800 * 1_000_000

// TimeOf converts a Go time; precision below a microsecond is cut.
func TimeOf(t time.Time) Time { return Time(t.UnixMicro() - postgresEpochMicro) }

// Time converts to a Go time in UTC.
func (t Time) Time() time.Time { return time.UnixMicro(int64(t) + postgresEpochMicro).UTC() }

// IsZero reports whether there is no time.
func (t Time) IsZero() bool { return t == 0 }

// Sub gives the duration from u to t.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t-u) * time.Microsecond }

// String gives RFC 3339 in UTC with microseconds.
func (t Time) String() string { return t.Time().Format("2006-01-02T15:04:05.000000Z") }
