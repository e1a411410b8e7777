package rpo

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"tidemark/internal/position"
	"tidemark/internal/progress"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) position.Time { return position.TimeOf(noon.Add(d)) }

func TestExpose(t *testing.T) {
	received := func(txs ...position.LSN) *Ages { // committed one second before each other, the last at noon
		a := &Ages{}
		for i, end := range txs {
			a.Add(end, at(-time.Duration(len(txs)-1-i)*time.Second))
		}
		return a
	}
	future, forgotten := &Ages{}, &Ages{}
	future.Add(20, at(time.Hour))
	forgotten.Begin(15)
	live := Stream{Connected: true, Confirmed: at(-time.Second), WALEnd: 50}
	dead := Stream{Connected: false, Confirmed: at(-time.Second), WALEnd: 50}
	held := func(l position.LSN) Held { return Held{Covered: l, Known: true} }
	cases := []struct {
		name    string
		now     time.Duration
		stream  Stream
		ages    *Ages
		held    Held
		journal Exposure
		lag     time.Duration
		bytes   int64
		known   bool
	}{
		{"idle and connected", time.Second, live, received(10, 20), held(20), Exposure{}, 0, 0, true},
		{"one missing", time.Second, live, received(10, 20, 30), held(20), Exposure{}, time.Second, 30, true},
		{"two missing counts the older", 0, live, received(10, 20, 30), held(10), Exposure{}, time.Second, 40, true},
		{"disconnected grows", 10 * time.Second, dead, received(10, 20), held(20), Exposure{}, 11 * time.Second, 30, true},
		{"just disconnected is not zero", 0, dead, received(10, 20), held(20), Exposure{}, time.Second, 30, true},
		{"connected but stuck grows", time.Minute, live, received(10), held(10), Exposure{}, 61 * time.Second, 40, true},
		{"never below the journal", 0, live, received(10), held(10), Exposure{Known: true, Lag: 7 * time.Second}, 7 * time.Second, 0, true},
		{"nothing known of the copy", 0, live, received(10), Held{}, Exposure{}, 0, 0, false},
		{"nothing known of the source", 0, Stream{Connected: true}, received(10), held(10), Exposure{}, 0, 0, false},
		{"clock behind the source", 0, Stream{Connected: true, Confirmed: at(0), Offset: 3 * time.Second, WALEnd: 9}, received(10), held(5), Exposure{}, 3 * time.Second, 4, true},
		{"a commit in the future hides no silence", 30 * time.Minute, Stream{Connected: false, Confirmed: at(0), WALEnd: 50}, future, held(10), Exposure{}, 30 * time.Minute, 40, true},
		{"behind the memory", 0, live, forgotten, Held{Covered: 10, Time: at(-time.Hour), Known: true}, Exposure{}, time.Hour, 40, true},
		{"behind the memory, time unknown", 0, live, forgotten, held(10), Exposure{}, 0, 0, false},
		{"clock ahead never gives a negative lag", -time.Hour, live, received(10), held(5), Exposure{}, 0, 45, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			e := Expose(noon.Add(c.now), c.stream, c.ages, c.held, c.journal)
			if e.Lag != c.lag || e.Known != c.known || e.Bytes != c.bytes {
				t.Errorf("exposure is %+v, want lag %v, bytes %d, known %v", e, c.lag, c.bytes, c.known)
			}
		})
	}
}

// Honest lag (P8): however many samples were merged, the answer is never younger than the truth.
func TestAgesAreNeverTooYoung(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 3*agesLimit).Draw(t, "transactions")
		jitter := rapid.SliceOfN(rapid.Int64Range(-50, 50), 16, 16).Draw(t, "jitter")
		times := make([]position.Time, n)
		a := &Ages{}
		for i := range n {
			times[i] = position.Time(int64(i)*10 + 1000 + jitter[i%16])
			a.Add(position.LSN(i+1), times[i])
		}
		held := rapid.IntRange(0, n).Draw(t, "held")
		got, missing, _ := a.Oldest(position.LSN(held))
		if missing != (held < n) {
			t.Fatalf("missing is %v with %d of %d held", missing, held, n)
		}
		if missing && got > minTime(times[held:]) {
			t.Fatalf("oldest is %d, truth is %d", got, minTime(times[held:]))
		}
		if len(a.samples) > agesLimit {
			t.Fatalf("%d samples", len(a.samples))
		}
	})
}

func minTime(ts []position.Time) position.Time {
	m := ts[0]
	for _, t := range ts {
		m = min(m, t)
	}
	return m
}

func TestForgetKeepsWhatACopyLacks(t *testing.T) {
	a := &Ages{}
	for i := range 10 {
		a.Add(position.LSN(i+1), position.Time(i+1))
	}
	a.Forget(4)
	if got, missing, known := a.Oldest(4); !missing || !known || got != 5 {
		t.Errorf("oldest is %d, %v, %v; want 5", got, missing, known)
	}
	if _, missing, known := a.Oldest(10); missing || !known {
		t.Error("something is missing behind the last")
	}
	if _, _, known := a.Oldest(3); known {
		t.Error("what was forgotten passes for known")
	}
}

func TestLevels(t *testing.T) {
	for lag, want := range map[time.Duration]Level{
		0: Healthy, 500: Healthy, 501: Warning, 800: Warning, 801: Critical, 1000: Critical, 1001: Breached,
	} {
		if got := LevelOf(Exposure{Lag: lag, Known: true}, 1000); got != want {
			t.Errorf("lag %d of 1000 is %s, want %s", lag, got, want)
		}
	}
	if got := LevelOf(Exposure{}, 1000); got != Unknown {
		t.Errorf("unknown exposure is %s", got)
	}
}

func TestMonitorAndMetrics(t *testing.T) {
	board, ages := progress.New(), &Ages{}
	now := position.TimeOf(time.Now())
	for i := range 3 {
		ages.Add(position.LSN(10*(i+1)), now-position.Time(3-i)*10_000_000)
	}
	board.Set(progress.Journal, progress.Mark{Stored: 30, Time: now - 10_000_000})
	board.Set(progress.Standby, progress.Mark{Stored: 10, Time: now - 30_000_000})
	m := &Monitor{
		Copies: []Copy{
			{Name: progress.Journal, Domain: "a", Tier: 1, Target: 5 * time.Second},
			{Name: progress.Standby, Domain: "b", Tier: 1, Target: 5 * time.Second},
			{Name: progress.NATS, Tier: 2, Target: time.Minute},
		},
		Board: board, Ages: ages,
		Stream: func() Stream { return Stream{Connected: true, Confirmed: now, WALEnd: 30} },
	}
	got := m.Now(time.Now())
	if got[0].Level != Healthy || got[1].Level != Breached || got[2].Level != Unknown {
		t.Errorf("levels are %v %v %v", got[0].Level, got[1].Level, got[2].Level)
	}
	if got[1].Lag < 20*time.Second || got[1].Lag > 25*time.Second || got[1].Bytes != 20 {
		t.Errorf("standby is %+v", got[1].Exposure)
	}
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(NewCollector(m))
	if n, err := testutil.GatherAndCount(reg); err != nil || n != 2+3*6+2*5 {
		t.Errorf("%d metrics, %v", n, err)
	}
}
