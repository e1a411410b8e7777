package capture

import (
	"time"

	"tidemark/internal/position"
)

// clockWindow is how long a measurement of the source's clock counts, at least.
const clockWindow = 30 * time.Second

// clock estimates the source's clock minus ours from the send times in its messages. A message is older than its send
// time says by the time it travelled, so each measurement is too low, and the highest of a window is the best. Two windows
// take turns, so that the estimate follows a clock that is set back.
type clock struct {
	current, previous time.Duration
	have              bool
	turn              time.Time
}

func (c *clock) observe(sent position.Time, now time.Time) {
	offset := sent.Time().Sub(now.Round(0))
	switch {
	case !c.have:
		c.current, c.previous, c.have, c.turn = offset, offset, true, now
	case now.Sub(c.turn) > clockWindow:
		c.previous, c.current, c.turn = c.current, offset, now
	default:
		c.current = max(c.current, offset)
	}
}

func (c *clock) offset() time.Duration { return max(c.current, c.previous) }
