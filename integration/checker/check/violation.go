package check

import (
	"fmt"
	"slices"
	"strings"

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

// Truth says what a table holds after the transactions that end at or below a place: each row's hash by its key, as
// fold.State.Rows gives it. The caller folds it anew; a check asks only when it has found a difference.
type Truth func(table string, at position.LSN) (map[string]uint64, error)

// differences names up to three keys by which rows differ from the truth.
func differences(truth Truth, table string, at position.LSN, have map[string]uint64) string {
	if truth == nil {
		return "keys are not known"
	}
	want, err := truth(table, at)
	if err != nil {
		return fmt.Sprintf("keys are not known: %v", err)
	}
	return compareRows(want, have)
}

func compareRows(want, have map[string]uint64) string {
	var list []string
	for key, hash := range want {
		if got, ok := have[key]; !ok {
			list = append(list, fmt.Sprintf("key %q is missing", key))
		} else if got != hash {
			list = append(list, fmt.Sprintf("key %q is different", key))
		}
	}
	for key := range have {
		if _, ok := want[key]; !ok {
			list = append(list, fmt.Sprintf("key %q is too many", key))
		}
	}
	if len(list) == 0 {
		return "rows do not differ by key"
	}
	slices.Sort(list)
	if more := len(list) - 3; more > 0 {
		list = append(list[:3], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(list, ", ")
}
