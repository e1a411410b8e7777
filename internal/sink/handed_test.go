package sink

import (
	"testing"

	"tidemark/internal/position"
	"tidemark/internal/segment"
)

func TestHandedStaysBoundedAndPessimistic(t *testing.T) {
	var h handed
	n := 3*maxHanded + 1
	for i := 1; i <= n; i++ {
		h.add(handedTransaction{end: position.LSN(i * 10), time: position.Time(i), rows: 1})
	}
	if len(h.waiting) > maxHanded {
		t.Fatalf("remembers %d transactions", len(h.waiting))
	}
	var rows uint64
	for i := 1; i <= n; i += 7 {
		m, r := h.cover(Reached{Covered: position.LSN(i*10 + 5)})
		rows += r
		if m.Time > position.Time(i) {
			t.Fatalf("covered up to %d shows the later time %d", i, m.Time)
		}
	}
	m, r := h.cover(Reached{Covered: position.LSN(n * 10)})
	if rows += r; rows != uint64(n) || r > 0 && m.Time != position.Time(n) {
		t.Errorf("%d rows at time %d, want %d", rows, m.Time, n)
	}
}

// A frontier's time is when the source said so: a commit at that moment can still end behind it.
func TestFrontierHasNoCommitTime(t *testing.T) {
	var s session
	part := segment.Frame{Kind: segment.Part, First: true, Last: true, Xid: 7, Count: 1, Commit: 19, End: 20, Time: 5}
	for _, c := range []struct {
		frame segment.Frame
		want  position.Time
	}{{segment.Frontier(10, 3), 0}, {part, 5}, {segment.Frontier(30, 9), 5}} {
		if err := s.note([]segment.Frame{c.frame}); err != nil {
			t.Fatal(err)
		}
		if m, _ := s.handed.cover(Reached{Covered: c.frame.End}); m.Time != c.want {
			t.Errorf("at %s the time is %d, want %d", c.frame.End, m.Time, c.want)
		}
	}
}

func TestBackoffBounds(t *testing.T) {
	b := Backoff{Min: 100, Max: 30000}
	for attempt := 1; attempt < 100; attempt++ {
		full := min(b.Max, b.Min<<min(attempt-1, 20))
		for range 20 {
			if w := b.wait(attempt); w < full/2 || w > full {
				t.Fatalf("attempt %d waits %d, want %d to %d", attempt, w, full/2, full)
			}
		}
	}
}
