package standby

import (
	"errors"
	"fmt"
)

// Config says where to apply. Zero values take the defaults.
type Config struct {
	// URL of the standby database.
	URL string
	// BatchRows is the number of changes after which a target transaction is committed, at the next end of a source transaction; default 10000.
	BatchRows int
	// DDL says what to do about schema changes on the source. Whatever it says, the sink today does what "stop" means, which is
	// the default: it waits, loudly, at the first change that does not fit the standby's tables, until these are
	// changed in the same way. "apply" and "ignore" are accepted.
	DDL string
}

// WithDefaults fills in what is zero.
func (c Config) WithDefaults() Config {
	if c.BatchRows == 0 {
		c.BatchRows = 10000
	}
	if c.DDL == "" {
		c.DDL = "stop"
	}
	return c
}

// Validate reports what cannot be.
func (c Config) Validate() error {
	if c.URL == "" {
		return errors.New("standby: url is required")
	}
	if c.BatchRows < 0 {
		return fmt.Errorf("standby: batch_rows is %d and must not be negative", c.BatchRows)
	}
	switch c.DDL {
	case "", "apply", "stop", "ignore":
		return nil
	}
	return fmt.Errorf("standby: ddl is %q and must be apply, stop or ignore", c.DDL)
}
