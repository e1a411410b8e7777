package config

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// Duration is a length of time such as 500ms, 5s, 24h or 30d.
type Duration time.Duration

// UnmarshalText reads the text form: what time.ParseDuration reads, or whole days as 30d.
func (d *Duration) UnmarshalText(b []byte) error {
	s := string(b)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return fmt.Errorf("%q is not a duration such as 500ms, 5s, 24h or 30d", s)
		}
		*d = Duration(time.Duration(n) * 24 * time.Hour)
		return nil
	}
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a duration such as 500ms, 5s, 24h or 30d", s)
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes the text form.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// SyncInterval is a Duration above 0, or always, which is 0.
type SyncInterval Duration

// UnmarshalText reads the text form.
func (s *SyncInterval) UnmarshalText(b []byte) error {
	if string(b) == "always" {
		*s = 0
		return nil
	}
	var d Duration
	if err := d.UnmarshalText(b); err != nil || d == 0 {
		return fmt.Errorf("%q is neither always nor a duration such as 1s or 2m", b)
	}
	*s = SyncInterval(d)
	return nil
}

// MarshalText writes the text form.
func (s SyncInterval) MarshalText() ([]byte, error) {
	if s == 0 {
		return []byte("always"), nil
	}
	return Duration(s).MarshalText()
}

// Size is a number of bytes such as 8MiB or 50GB.
type Size int64

// UnmarshalText reads the text form: a number with an SI or IEC unit.
func (s *Size) UnmarshalText(b []byte) error {
	n, err := humanize.ParseBytes(string(b))
	if err != nil || n > 1<<62 {
		return fmt.Errorf("%q is not a size such as 8MiB or 50GB", b)
	}
	*s = Size(n)
	return nil
}

// MarshalText writes the text form.
func (s Size) MarshalText() ([]byte, error) { return []byte(humanize.IBytes(uint64(s))), nil }

// Secret is a value that may hold a password. Printing, logging or encoding it in any way gives a placeholder.
type Secret string

const hidden = "[hidden]"

// Reveal returns the value itself.
func (s Secret) Reveal() string { return string(s) }

// String hides the value.
func (s Secret) String() string { return hidden }

// GoString hides the value.
func (s Secret) GoString() string { return hidden }

// MarshalText hides the value.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// LogValue hides the value.
func (s Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// UnmarshalText reads the value.
func (s *Secret) UnmarshalText(b []byte) error {
	*s = Secret(b)
	return nil
}
