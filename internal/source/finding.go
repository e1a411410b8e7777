package source

import (
	"errors"
	"fmt"
)

// Level grades a Finding.
type Level string

// The levels. Only Fail makes `tidemark check` fail.
const (
	OK   Level = "ok"
	Warn Level = "warn"
	Fail Level = "fail"
)

// Finding is one result of Check.
type Finding struct {
	// Name of the check, such as "wal_level" or "replica identity".
	Name  string
	Level Level
	// Text says what was found, in one line.
	Text string
	// Fix is what to run or set, empty when there is nothing to do.
	Fix string
}

// ErrRefused marks an error that waiting cannot mend: something on the source must be changed first, and the error says
// what. errors.Is finds it in every Refusal.
var ErrRefused = errors.New("source refused")

// Refusal is why the source cannot be used as it is. Its text is one line: what, why, and what to do.
type Refusal struct {
	What string
	Fix  string
}

// Error gives the line.
func (r Refusal) Error() string {
	if r.Fix == "" {
		return r.What
	}
	return r.What + "; to mend it: " + r.Fix
}

// Is makes errors.Is(err, ErrRefused) true.
func (r Refusal) Is(target error) bool { return target == ErrRefused }

func refuse(fix, format string, args ...any) Refusal {
	return Refusal{What: fmt.Sprintf(format, args...), Fix: fix}
}

// refusals turns the failures among findings into one error, one line each; nil when there is none.
func refusals(findings []Finding) error {
	var errs []error
	for _, f := range findings {
		if f.Level == Fail {
			errs = append(errs, Refusal{What: f.Text, Fix: f.Fix})
		}
	}
	return errors.Join(errs...)
}
