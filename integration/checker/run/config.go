package run

import (
	"errors"
	"log/slog"
	"time"
)

// Config says what to run. Bin, Dir, Major and Log are required.
type Config struct {
	Bin   string // the tidemark program; with Planted, one that was built with the tag planted
	Dir   string // an empty directory, which is removed unless a violation is found or Keep is set
	Major int    // PostgreSQL version of all servers
	Seed  uint64
	// Length is how long load and faults go on; the last quiet period comes behind it. At least a few seconds.
	Length   time.Duration
	Sessions int     // 1 to 32, default by the seed
	Rate     float64 // transactions a second, default 300
	Planted  string  // name of the planted bug
	Keep     bool
	Log      *slog.Logger
}

func (c Config) validate() error {
	switch {
	case c.Bin == "" || c.Dir == "" || c.Major == 0 || c.Log == nil:
		return errors.New("bin, dir, major and log are required")
	case c.Length < time.Second:
		return errors.New("length must be a second or more")
	case c.Sessions < 0 || c.Sessions > 32:
		return errors.New("sessions must be 1 to 32")
	}
	return nil
}
