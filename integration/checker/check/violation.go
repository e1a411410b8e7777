package check

import (
	"fmt"

	"tidemark/internal/position"
)

// Violation says that an invariant does not hold. Any other error of a check says only that it could not look: a server was
// down, and the caller tries again.
type Violation struct {
	Check  string       // who found it: stream, standby, restore, journal, …
	At     position.LSN // where; zero where no place can be named
	Detail string       // what is wrong, by table and key, never by value
}

// Violated makes a Violation; errors.As finds it through any wrapping.
func Violated(check string, at position.LSN, format string, args ...any) error {
	return &Violation{Check: check, At: at, Detail: fmt.Sprintf(format, args...)}
}

// Error names the check, the place and what is wrong.
func (v *Violation) Error() string {
	return fmt.Sprintf("%s at %s: %s", v.Check, v.At, v.Detail)
}
