package sink

import (
	"math/rand/v2"
	"time"
)

// Backoff bounds the waits between attempts. The wait doubles from Min to Max; half of each is random, so that sinks
// which lost one server do not return to it in step.
type Backoff struct {
	Min time.Duration // default 100 ms
	Max time.Duration // default 30 s
}

// wait returns the pause after the given attempt, counted from 1.
func (b Backoff) wait(attempt int) time.Duration {
	d := b.Max
	if shift := attempt - 1; shift < 32 {
		d = min(b.Max, b.Min<<shift)
	}
	if d <= 0 { // the shift overflowed
		d = b.Max
	}
	return d/2 + rand.N(d/2+1)
}
