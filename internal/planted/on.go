//go:build planted

package planted

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
)

// Variable is the environment variable that chooses a mistake.
const Variable = "TIDEMARK_PLANTED"

var (
	active = Bug(os.Getenv(Variable))
	asked  atomic.Uint64
)

// Is reports whether a mistake is active.
func Is(bug Bug) bool { return bug == active }

// Every reports, of an active mistake, every nth time that it is asked.
func Every(bug Bug, n uint64) bool { return Is(bug) && asked.Add(1)%n == 0 }

// All lists the mistakes.
func All() []Bug {
	return []Bug{
		AckOnReceipt, AckCommitLSN, KeepaliveAcked, FsyncSkipped, TailCut,
		StartPlusOne, SkipCommitAtWatermark, DiscardForgotten, RelationKept,
		ToastNull, OldKeyIgnored, TruncateIgnored, FullDeletesAll, NullIdentity, ProgressOutside, BatchReordered,
		ToastNullEvent, PublishReordered, PublishWithoutID, StreamResumeOff,
		ArchiveEarly, RestoreByTime,
	}
}

// Notice says that this program carries mistakes, and which one is active. The error is that there is none of the name.
func Notice() (string, error) {
	const what = "this program carries planted bugs and is for tests only"
	switch {
	case active == "":
		return what + "; none is active", nil
	case slices.Contains(All(), active):
		return fmt.Sprintf("%s; %s is active", what, active), nil
	}
	names := make([]string, 0, len(All()))
	for _, b := range All() {
		names = append(names, string(b))
	}
	return "", fmt.Errorf("choose a planted bug: %s is %q: want one of %s", Variable, active, strings.Join(names, ", "))
}
