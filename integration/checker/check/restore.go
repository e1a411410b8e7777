package check

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"tidemark/internal/position"

	"tidemark/integration/checker/fold"
)

const restoreCheck = "restore"

// Command runs the program with arguments to its end. err says that it could not be run, or was ended by somebody else; an exit code other than
// 0 is no error.
type Command func(ctx context.Context, args ...string) (code int, stdout, stderr string, err error)

// Restore restores the archive to moments of its choice, each into a fresh database, and compares that with the timeline. Check is for one
// goroutine; Counts is for any.
type Restore struct {
	Command    Command
	ArchiveURL string
	AdminURL   string // any database of the scratch server, as a superuser; databases are made beside it
	Tables     []fold.Table
	Timeline   *fold.Timeline
	Truth      Truth // may be nil: no keys in a Violation

	// Digest and Rows are as in Standby.
	Digest func(ctx context.Context, tx pgx.Tx, tables []fold.Table) (map[string]fold.Sum, error)
	Rows   func(ctx context.Context, tx pgx.Tx, table fold.Table) (map[string]uint64, error)

	// MustHaveBase says that the archive was given a base before the first Check. Without it the archive must hold one once a Check has seen one.
	MustHaveBase bool

	// Healthy says that the archive and the scratch server can be reached, as far as the caller knows; nil means always; it is called from
	// another goroutine while a command runs. A command that fails is a Violation only if it fails twice while both can be reached, and
	// one that takes the caller's whole time only if the next Check's does so too.
	Healthy func() bool
	Rand    *rand.Rand
	Log     *slog.Logger

	begun time.Time      // the Check that is under way
	hung  map[string]int // how often a command did not end since it last did, by its first argument
	seen  bool           // a base

	mu     sync.Mutex // guards counts
	counts map[string]int
}

// Counts returns how many restores were found right, by what they were restored to; how many were refused and had to be; and
// how many were repeated.
func (r *Restore) Counts() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.counts)
}

func (r *Restore) count(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts == nil {
		r.counts = map[string]int{}
	}
	r.counts[name]++
}

// ErrNoBase says that the archive holds no base yet, so nothing can be restored. It is no Violation while none is known to have been there.
var ErrNoBase = errors.New("the archive holds no base yet")

// Check restores once, sometimes twice, to a moment that it chooses. covered is the archive's position as the service's status gave it before
// the call: everything up to there must be restorable. ctx should have a deadline, by which a restore must end.
func (r *Restore) Check(ctx context.Context, covered position.LSN) error {
	r.begun = time.Now()
	return r.hanging(covered, r.check(ctx, covered))
}

func (r *Restore) check(ctx context.Context, covered position.LSN) error {
	l, err := r.list(ctx)
	if err != nil {
		return err
	}
	if err := r.Timeline.Wait(ctx, max(covered, l.top())); err != nil {
		return err
	}
	if wrong := r.wrongListing(l, covered); wrong != "" {
		return Violated(restoreCheck, covered, "archive ls: %s", wrong)
	}
	j := job{target: r.pick(l, covered), before: l, covered: covered}
	first, err := r.settled(ctx, j)
	if err != nil || first.sums == nil || !r.final(j) || r.Rand.IntN(5) > 0 {
		return err
	}
	second, err := r.settled(ctx, j)
	if err != nil {
		return err
	}
	if second.at != first.at || !maps.Equal(first.sums, second.sums) {
		return Violated(restoreCheck, first.at, "restoring to %s twice gives %s and %s, or other rows", j.target, first.at, second.at)
	}
	r.count("repeated")
	return nil
}

// job is one restore. covered and before are what was known of the archive when it began.
type job struct {
	target
	before  listing
	covered position.LSN
}

// outcome is what a restore made; without sums it was refused, rightly.
type outcome struct {
	at   position.LSN
	sums map[string]fold.Sum
}

// errFailed says that the command failed otherwise than by a refusal, or refused what it must not refuse.
type errFailed struct{ reason string }

func (e errFailed) Error() string { return e.reason }

// settled makes an attempt, and another one when the first one failed: what failed may have been the way there.
func (r *Restore) settled(ctx context.Context, j job) (outcome, error) {
	var out outcome
	err := r.twice(func() (err error) {
		out, err = r.attempt(ctx, j)
		return err
	})
	if failed := (errFailed{}); errors.As(err, &failed) {
		return out, Violated(restoreCheck, j.covered, "restore to %s: %s", j.target, failed.reason)
	}
	return out, err
}

// twice calls do, and again when it failed although everything can be reached. An errFailed remains only if it failed both times.
func (r *Restore) twice(do func() error) error {
	for again := false; ; again = true {
		well := r.healthy()
		err := do()
		failed := errFailed{}
		if !errors.As(err, &failed) {
			return err
		}
		if !well || !r.healthy() {
			return fmt.Errorf("while something could not be reached: %s", failed.reason)
		}
		if again {
			return err
		}
		r.Log.Debug("a command failed and is repeated", "reason", failed.reason)
	}
}

func (r *Restore) healthy() bool { return r.Healthy == nil || r.Healthy() }

// attempt restores into a database of its own, which stays where a Violation was found.
func (r *Restore) attempt(ctx context.Context, j job) (out outcome, err error) {
	db, err := r.create(ctx)
	if err != nil {
		return out, err
	}
	defer func() {
		if v, ok := errors.AsType[*Violation](err); ok {
			v.Detail += "; the database " + db.name + " is kept"
			return
		}
		r.drop(ctx, db)
	}()
	args := append([]string{"restore", "--archive", r.ArchiveURL, "--target", db.url, "--json"}, j.args()...)
	code, stdout, stderr, err := r.run(ctx, args...)
	switch {
	case err != nil:
		return out, fmt.Errorf("restore to %s: %w", j.target, err)
	case code == 1:
		return out, r.refused(ctx, j, db, stderr)
	case code != 0:
		return out, Violated(restoreCheck, j.covered, "restore to %s: exit code %d: %s", j.target, code, lastLine(stderr))
	}
	out.at, out.sums, err = r.verify(ctx, j, db, stdout)
	if err == nil {
		r.count(j.kind)
	}
	return out, err
}

// refused judges exit code 1.
func (r *Restore) refused(ctx context.Context, j job, db database, stderr string) error {
	if !strings.Contains(stderr, "cannot be reached") || r.mustReach(j) {
		return errFailed{"exit code 1: " + lastLine(stderr)}
	}
	touched, err := db.touched(ctx)
	if err != nil {
		return err
	}
	if touched {
		return Violated(restoreCheck, j.covered, "restore to %s was refused, but something is in the target", j.target)
	}
	r.count("refused")
	return nil
}

// lastLine is what the program said at the end.
func lastLine(text string) string {
	text = strings.TrimSpace(text)
	text = text[strings.LastIndexByte(text, '\n')+1:]
	return text[max(0, len(text)-500):]
}
