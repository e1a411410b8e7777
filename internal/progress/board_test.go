package progress

import (
	"testing"
)

func TestBoardNeverGoesBack(t *testing.T) {
	b := New()
	b.Set(Standby, Mark{Stored: 10, Covered: 20, Time: 5})
	b.Set(Standby, Mark{Stored: 8, Covered: 9, Time: 4})
	if m, _ := b.Get(Standby); m != (Mark{Stored: 10, Covered: 20, Time: 5}) {
		t.Errorf("mark went back to %+v", m)
	}
	b.Set(Standby, Mark{Stored: 30, Time: 9})
	if m, _ := b.Get(Standby); m != (Mark{Stored: 30, Covered: 30, Time: 9}) {
		t.Errorf("mark is %+v, want all at 30", m)
	}
}

func TestFloorWaitsForAll(t *testing.T) {
	b := New()
	b.Set(Journal, Mark{Stored: 30})
	if _, ok := b.Floor(Journal, Standby); ok {
		t.Error("floor is known although the standby wrote no mark")
	}
	b.Set(Standby, Mark{Stored: 10})
	if f, ok := b.Floor(Journal, Standby); !ok || f != 10 {
		t.Errorf("floor is %v, %v; want 10", f, ok)
	}
}

func TestChangedIsClosedOnce(t *testing.T) {
	b := New()
	ch := b.Changed()
	b.Set(Journal, Mark{Stored: 1})
	<-ch
	ch = b.Changed()
	b.Set(Journal, Mark{Stored: 1})
	select {
	case <-ch:
		t.Error("an equal mark announced a change")
	default:
	}
}
