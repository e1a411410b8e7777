package workload

import (
	"math/rand/v2"
	"strconv"
	"strings"
)

// value is a value's text as the type's input function takes it; nil is NULL.
type value = *string

// gen makes a value. It draws from its source alone.
type gen func(*rand.Rand) value

func of(s string) value { return &s }

// pieces are texts that somebody's quoting gets wrong.
var pieces = []string{
	"", "'", "''", `"`, `\`, `\\`, "\n", "\t", "\r\n", "NULL", "null", `\N`, `\.`, "😀", "ünïcödé", "a,b", "{}", "{", "}", "(1,2)", "<&>", "\u2028",
	"$1", "$$", "%s", "%", "\x01", "\x7f", " lead", "trail ", "0", "--", "/*", ";", ":x", "[null]", "E'\\n'", "truncate", "\ufeff", "e\u0301", "x", "word", "tidemark",
}

func text(r *rand.Rand) value {
	var b strings.Builder
	for range 1 + r.IntN(4)*r.IntN(2) {
		b.WriteString(pieces[r.IntN(len(pieces))])
	}
	if r.IntN(8) == 0 {
		b.WriteString(strings.Repeat("pad ", r.IntN(60)))
	}
	return of(b.String())
}

// distinct is a text that two rows seldom share.
func distinct(r *rand.Rand) value {
	return of(pieces[r.IntN(len(pieces))] + strconv.FormatUint(r.Uint64(), 36))
}

// long is a text that does not fit into a row: mostly a few kB, sometimes many, and half of them hard to compress.
func long(r *rand.Rand) value {
	size := 2200 + r.IntN(3000)
	if r.IntN(6) == 0 {
		size += 8000 + r.IntN(20000)
	}
	if r.IntN(2) == 0 {
		return of(noise(r.Uint64(), size))
	}
	word := pieces[r.IntN(len(pieces))] + noise(r.Uint64(), 8)
	return of(strings.Repeat(word, size/len(word)+1))
}

// noise is n characters that cannot be compressed much, always the same for a seed.
func noise(seed uint64, n int) string {
	r := rand.New(rand.NewPCG(seed, 0))
	b := make([]byte, 0, n+16)
	for len(b) < n {
		b = strconv.AppendUint(b, r.Uint64(), 36)
	}
	return string(b[:n])
}

func longBytes(r *rand.Rand) value {
	const digits = "0123456789abcdef"
	b := []byte(`\x`)
	for range 2 * (2100 + r.IntN(2000)) {
		b = append(b, digits[r.IntN(16)])
	}
	return of(string(b))
}

func pool(of ...string) gen { return func(r *rand.Rand) value { return &of[r.IntN(len(of))] } }

func number(low, high int) gen {
	return func(r *rand.Rand) value { return of(strconv.Itoa(low + r.IntN(high-low+1))) }
}

// either is NULL in one of n cases.
func either(n int, g gen) gen {
	return func(r *rand.Rand) value {
		if r.IntN(n) == 0 {
			return nil
		}
		return g(r)
	}
}

// literal writes a value so that an SQL statement takes it for whatever type stands there.
func literal(v value) string {
	if v == nil {
		return "null"
	}
	return "'" + strings.ReplaceAll(*v, "'", "''") + "'"
}

var copyEscapes = strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`)

// copyField writes a value as COPY's text format wants it.
func copyField(v value) string {
	if v == nil {
		return `\N`
	}
	return copyEscapes.Replace(*v)
}
