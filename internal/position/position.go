package position

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// LSN is a byte place in the source's write-ahead log. Zero means "none".
type LSN uint64

// ParseLSN reads PostgreSQL's text form, two hexadecimal halves such as 16/B374D848.
func ParseLSN(s string) (LSN, error) {
	hi, lo, ok := strings.Cut(s, "/")
	if !ok {
		return 0, fmt.Errorf("parse LSN %q: want two hexadecimal halves such as 16/B374D848", s)
	}
	h, err := parseHalf(hi)
	if err != nil {
		return 0, fmt.Errorf("parse LSN %q: %w", s, err)
	}
	l, err := parseHalf(lo)
	if err != nil {
		return 0, fmt.Errorf("parse LSN %q: %w", s, err)
	}
	return LSN(h<<32 | l), nil
}

func parseHalf(s string) (uint64, error) {
	if s == "" || len(s) > 8 || s[0] == '+' {
		return 0, fmt.Errorf("want 1 to 8 hexadecimal digits on each side of the slash")
	}
	n, err := strconv.ParseUint(s, 16, 32)
	if err != nil {
		return 0, fmt.Errorf("want 1 to 8 hexadecimal digits on each side of the slash")
	}
	return n, nil
}

// String gives PostgreSQL's text form.
func (l LSN) String() string { return fmt.Sprintf("%X/%X", uint32(l>>32), uint32(l)) }

// Hex gives 16 hexadecimal digits, upper case: the form used in names, where text order must be LSN order.
func (l LSN) Hex() string { return fmt.Sprintf("%016X", uint64(l)) }

// IsZero reports whether there is no LSN.
func (l LSN) IsZero() bool { return l == 0 }

// MarshalText writes PostgreSQL's text form.
func (l LSN) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads PostgreSQL's text form.
func (l *LSN) UnmarshalText(b []byte) error {
	v, err := ParseLSN(string(b))
	if err != nil {
		return err
	}
	*l = v
	return nil
}

// Position is one change: the end LSN of its transaction and its ordinal in it, counted from 0.
type Position struct {
	End     LSN
	Ordinal uint32
}

// Compare orders positions in commit order: -1, 0 or +1.
func (p Position) Compare(q Position) int {
	if c := cmp.Compare(p.End, q.End); c != 0 {
		return c
	}
	return cmp.Compare(p.Ordinal, q.Ordinal)
}

// Less reports whether p comes before q.
func (p Position) Less(q Position) bool { return p.Compare(q) < 0 }

// IsZero reports whether there is no position.
func (p Position) IsZero() bool { return p == Position{} }

// String gives the text form, LSN and ordinal: 16/B374D848:3.
func (p Position) String() string {
	return p.End.String() + ":" + strconv.FormatUint(uint64(p.Ordinal), 10)
}

// Parse reads the form that String gives.
func Parse(s string) (Position, error) {
	lsn, ord, ok := strings.Cut(s, ":")
	if !ok {
		return Position{}, fmt.Errorf("parse position %q: want LSN:ordinal such as 16/B374D848:3", s)
	}
	end, err := ParseLSN(lsn)
	if err != nil {
		return Position{}, fmt.Errorf("parse position %q: %w", s, err)
	}
	n, err := strconv.ParseUint(ord, 10, 32)
	if err != nil {
		return Position{}, fmt.Errorf("parse position %q: ordinal is not a number from 0 to 4294967295", s)
	}
	return Position{End: end, Ordinal: uint32(n)}, nil
}
