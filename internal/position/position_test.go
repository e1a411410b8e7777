package position

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseLSN(t *testing.T) {
	good := map[string]LSN{"0/0": 0, "16/B374D848": 0x16B374D848, "ffffffff/FFFFFFFF": 1<<64 - 1, "0/1": 1}
	for s, want := range good {
		if got, err := ParseLSN(s); err != nil || got != want {
			t.Errorf("ParseLSN(%q) = %v, %v; want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "/", "1", "1/", "/1", "1/123456789", "g/1", "+1/1", "1/-1", "1/1/1", " 1/1"} {
		if got, err := ParseLSN(s); err == nil {
			t.Errorf("ParseLSN(%q) = %v, want an error", s, got)
		}
	}
}

func TestTextRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Position{End: LSN(rapid.Uint64().Draw(t, "end")), Ordinal: rapid.Uint32().Draw(t, "ordinal")}
		q, err := Parse(p.String())
		if err != nil || q != p {
			t.Fatalf("Parse(%q) = %v, %v", p, q, err)
		}
	})
}

func TestOrder(t *testing.T) {
	sorted := []Position{{}, {1, 0}, {1, 1}, {2, 0}}
	for i, p := range sorted {
		for j, q := range sorted {
			if got := p.Less(q); got != (i < j) {
				t.Errorf("%v < %v is %v", p, q, got)
			}
		}
	}
}

func TestTime(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)
	if got := TimeOf(now).Time(); !got.Equal(now) {
		t.Errorf("round trip of %v gives %v", now, got)
	}
	if got := TimeOf(time.Date(2000, 1, 1, 0, 0, 1, 0, time.UTC)); got != 1_000_000 {
		t.Errorf("one second after the epoch is %d microseconds", got)
	}
}
