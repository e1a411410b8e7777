package check

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tidemark/internal/position"
)

// errHung says that a command had not ended when the caller's time was over, although everything could be reached all the while.
type errHung struct {
	verb  string
	after time.Duration
}

func (e errHung) Error() string { return fmt.Sprintf("%s did not end within %v", e.verb, e.after) }

const lookAgain = 100 * time.Millisecond // at Healthy

// run runs a command. The error says that it could not be run or did not come to its end; it is then an errHung, or the context's cause.
func (r *Restore) run(ctx context.Context, args ...string) (code int, stdout, stderr string, err error) {
	begin, well := time.Now(), r.watch()
	code, stdout, stderr, err = r.Command(ctx, args...)
	took, healthy := time.Since(begin), well()
	switch {
	case ctx.Err() == nil:
		if err == nil {
			delete(r.hung, args[0])
		}
		return code, stdout, stderr, err
	case healthy && r.lasted(ctx, took):
		err = errHung{args[0], took.Round(time.Millisecond)}
	default:
		err = context.Cause(ctx)
	}
	return code, stdout, stderr, err
}

// lasted reports whether a command that took so long is what used up the time of the caller: half of it at least, or it came
// late. A caller that ends for another reason than its deadline did not wait.
func (r *Restore) lasted(ctx context.Context, took time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return ok && errors.Is(ctx.Err(), context.DeadlineExceeded) && errors.Is(context.Cause(ctx), context.DeadlineExceeded) &&
		!r.begun.IsZero() && took >= deadline.Sub(r.begun)/2
}

// watch looks at Healthy until the function that it returns is called, which tells whether all was well all the while.
func (r *Restore) watch() (well func() bool) {
	if r.Healthy == nil {
		return func() bool { return true }
	}
	stop, result := make(chan struct{}), make(chan bool, 1)
	go func() {
		tick := time.NewTicker(lookAgain)
		defer tick.Stop()
		for well := r.Healthy(); ; well = r.Healthy() && well {
			select {
			case <-tick.C:
			case <-stop:
				result <- r.Healthy() && well
				return
			}
		}
	}()
	return func() bool { close(stop); return <-result }
}

// hanging makes a Violation of a command that hung, when the one before did so too.
func (r *Restore) hanging(covered position.LSN, err error) error {
	hung := errHung{}
	if !errors.As(err, &hung) {
		return err
	}
	if r.hung == nil {
		r.hung = map[string]int{}
	}
	if r.hung[hung.verb]++; r.hung[hung.verb] < 2 {
		return err
	}
	return Violated(restoreCheck, covered, "%v, and the one before did not either", err)
}
