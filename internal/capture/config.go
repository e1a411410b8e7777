package capture

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"tidemark/internal/position"
	"tidemark/internal/progress"
	"tidemark/internal/segment"
	"tidemark/internal/source"
)

// Appender is the journal as capture needs it. One goroutine calls it.
type Appender interface {
	// Append takes the next part. It must not keep the slices of a after it returns. An error with a method Full() bool that
	// gives true says that there is no room: nothing was taken, and the same part may be offered again. After any other error the
	// state is unknown.
	Append(a segment.Append) error
	// Discard takes back the parts of the transaction that has no last part yet. Without such parts it does nothing.
	Discard() error
}

// ErrFatal marks an error after which the process must start anew and recover: the journal's state is unknown, or the
// source sent something that cannot be understood.
var ErrFatal = errors.New("capture cannot go on")

// ErrRefused marks an error that only a change on the source, or of the configuration, can mend.
var ErrRefused = source.ErrRefused

// errTransient marks what a new connection may mend.
var errTransient = errors.New("connection ended")

// Config says what to capture and where it goes. All fields but the last six are needed.
type Config struct {
	Source source.Config
	// Journal is whose changes the journal holds, as Gate found it. Every connection is held against it.
	Journal source.Identity
	// Start is the journal's end LSN, or where Gate lets a new journal begin.
	Start position.LSN
	// Confirmed is the slot's confirmed position as Gate found it: it can be reported before anything is durable. Zero when the source
	// could not be asked; the first connection learns it.
	Confirmed position.LSN
	Appender  Appender
	Board     *progress.Board
	Log       *slog.Logger
	// Acknowledge lists the stages that must be durable before the source may forget; empty means the journal.
	Acknowledge []string
	// Standby says that there is a standby: what it has applied is reported as apply, and nothing beyond Confirmed before it
	// has written on the board.
	Standby bool
	// Received, if set, is told of every transaction with rows when its commit was read, before the journal has it. After a
	// reconnect it may be told again.
	Received func(end position.LSN, commit position.Time)
	// Acknowledging, if set, is told what a status update says before it is sent. Its error is fatal, and nothing is sent.
	Acknowledging func(flush, apply position.LSN) error
	// Registerer takes the metrics; nil leaves them unregistered.
	Registerer prometheus.Registerer
	// PartBytes is the payload at which a part is handed over; 0 means 1 MiB.
	PartBytes int
}

func (c *Config) complete() error {
	c.Source = c.Source.WithDefaults()
	if c.Appender == nil || c.Board == nil || c.Log == nil {
		return fmt.Errorf("capture: Appender, Board and Log must be set")
	}
	if c.Start.IsZero() {
		return fmt.Errorf("capture: Start must be set")
	}
	if len(c.Acknowledge) == 0 {
		c.Acknowledge = []string{progress.Journal}
	}
	if c.PartBytes == 0 {
		c.PartBytes = 1 << 20
	}
	return c.Source.Validate()
}

func fatal(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrFatal, fmt.Errorf(format, args...))
}

func transient(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errTransient, fmt.Errorf(format, args...))
}

// full reports whether an error of Append says that there is no room.
func full(err error) bool {
	var f interface{ Full() bool }
	return errors.As(err, &f) && f.Full()
}
