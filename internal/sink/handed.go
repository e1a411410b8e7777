package sink

import (
	"tidemark/internal/position"
	"tidemark/internal/progress"
)

// maxHanded bounds the memory of handed; a slow archiver at 20,000 commits per second stays below it for 3 s, after
// which times and counts become coarser, never wrong in the hopeful direction.
const maxHanded = 1 << 16

type handedTransaction struct {
	end  position.LSN
	time position.Time
	rows uint64
}

// handed remembers the transactions that were given to the sink completely and that it does not cover yet, in commit
// order, to know the commit time and the rows behind a covered position.
type handed struct {
	waiting []handedTransaction
	last    position.LSN // end of the last complete transaction given
}

func (h *handed) add(t handedTransaction) {
	if len(h.waiting) >= maxHanded {
		h.thin()
	}
	h.waiting = append(h.waiting, t)
	h.last = t.end
}

// thin joins pairs under the later one: a position between the two then shows the time before both, which is older
// than the truth, so lag is never understated.
func (h *handed) thin() {
	kept := h.waiting[:0]
	for i := 0; i+1 < len(h.waiting); i += 2 {
		t := h.waiting[i+1]
		t.rows += h.waiting[i].rows
		kept = append(kept, t)
	}
	if len(h.waiting)%2 == 1 {
		kept = append(kept, h.waiting[len(h.waiting)-1])
	}
	h.waiting = kept
}

// cover forgets what is at or below r.Covered; it returns the mark for the board and the rows that became covered.
func (h *handed) cover(r Reached) (progress.Mark, uint64) {
	m := progress.Mark{Stored: r.Stored, Covered: r.Covered}
	var rows uint64
	n := 0
	for n < len(h.waiting) && h.waiting[n].end <= r.Covered {
		m.Time = h.waiting[n].time
		rows += h.waiting[n].rows
		n++
	}
	h.waiting = h.waiting[n:]
	return m, rows
}
