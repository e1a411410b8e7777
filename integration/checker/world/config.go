package world

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// What the configuration of the service names.
const (
	Slot        = "tidemark"
	Publication = "tidemark" // all tables but those of the schema private
	Database    = "app"      // on the primary and on the standby
	Stream      = "TIDEMARK"
	Subjects    = "cdc" // prefix of the stream's subjects
)

// Config says what world to start. Bin, Dir and Log are required.
type Config struct {
	Bin string // the tidemark program
	Dir string // an existing directory, which keeps everything; users other than ours must be able to reach it
	// Major is the PostgreSQL version of all servers; 0 takes the newest installed one.
	Major int
	Log   *slog.Logger
	// Env is added to the environment of the service and of every command, as NAME=value.
	Env []string
	// Trace lets the service write its trace to Service.TraceFile.
	Trace bool
	// JournalLimit is journal.max_size in bytes; default 192 MiB.
	JournalLimit int64
	// DiskSize is the size in bytes of the disk under the journal; default 256 MiB.
	DiskSize int64
}

func (c *Config) complete() error {
	if c.Bin == "" || c.Dir == "" || c.Log == nil {
		return errors.New("bin, dir and log are required")
	}
	if c.JournalLimit == 0 {
		c.JournalLimit = 192 << 20
	}
	if c.DiskSize == 0 {
		c.DiskSize = 256 << 20
	}
	var err error
	if c.Dir, err = filepath.Abs(c.Dir); err != nil {
		return fmt.Errorf("find the directory: %w", err)
	}
	// PostgreSQL servers run as another user when we are root, who passes through and need not list.
	if err := os.Chmod(c.Dir, 0o711); err != nil {
		return fmt.Errorf("open the directory to servers: %w", err)
	}
	return nil
}

// addresses are the host:port and URLs that the service is given.
type addresses struct {
	source, standby, nats, archive, listen string
}

// write makes the service's configuration. Segments are as small as they may be: each end of one is a place for bugs.
func (c *Config) write(path, journal string, to addresses) error {
	var y strings.Builder
	fmt.Fprintf(&y, "source:\n  url: %q\n  slot: %q\n", to.source, Slot)
	fmt.Fprintf(&y, "  publication: {name: %q, exclude: [\"private.*\"]}\n", Publication)
	fmt.Fprintf(&y, "journal: {dir: %q, segment_size: 1MiB, retention: 2m, max_size: %d}\n", journal, c.JournalLimit)
	fmt.Fprintf(&y, "http: {listen: %q}\n", to.listen)
	fmt.Fprintf(&y, "sinks:\n  standby: {url: %q}\n", to.standby)
	fmt.Fprintf(&y, "  nats: {url: %q, stream: %q, subject_prefix: %q}\n", to.nats, Stream, Subjects)
	fmt.Fprintf(&y, "  archive: {url: %q, flush_interval: 1s}\n", to.archive)
	if err := os.WriteFile(path, []byte(y.String()), 0o600); err != nil {
		return fmt.Errorf("write the service's configuration: %w", err)
	}
	return nil
}
