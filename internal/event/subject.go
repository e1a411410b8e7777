package event

import (
	"fmt"
	"strings"
)

// OpCommit and OpRead are the operations of events that are no row changes: a transaction's end, and a row of a snapshot.
// The others are named by change.Op.
const (
	OpCommit = "commit"
	OpRead   = "read"
)

const commitToken = "_commit"

// empty is the token of an empty name. No other name gives it: a percent sign in a name is written %25.
const empty = "%"

// Subject is ‹prefix›.‹database›.‹schema›.‹table›.‹op›. Bytes of the names outside A–Z a–z 0–9 _ - are written %XX, so
// that a name is always one token without wildcards, and different names give different subjects. The longest names
// that PostgreSQL allows give a subject of 575 bytes plus prefix.
func Subject(prefix, database, schema, table, op string) string {
	b := make([]byte, 0, len(prefix)+len(database)+len(schema)+len(table)+len(op)+24)
	b = append(b, prefix...)
	for _, name := range [...]string{database, schema, table} {
		b = appendToken(append(b, '.'), name)
	}
	return string(append(append(b, '.'), op...))
}

// CommitSubject is ‹prefix›.‹database›._commit, where the ends of transactions are published.
func CommitSubject(prefix, database string) string {
	b := appendToken(append([]byte(prefix), '.'), database)
	return string(append(b, "."+commitToken...))
}

// ParseSubject undoes Subject and CommitSubject; for the latter op is OpCommit and schema and table are empty. It refuses
// a subject that they would not have made.
func ParseSubject(prefix, subject string) (database, schema, table, op string, err error) {
	rest, ok := strings.CutPrefix(subject, prefix+".")
	tokens := strings.Split(rest, ".")
	switch {
	case !ok:
		return "", "", "", "", fmt.Errorf("parse subject %q: it does not begin with %q", subject, prefix)
	case len(tokens) == 2 && tokens[1] == commitToken:
		database, ok = unescape(tokens[0])
		op = OpCommit
	case len(tokens) == 4 && knownOp(tokens[3]):
		var names [3]string
		for i := range names {
			var whole bool
			names[i], whole = unescape(tokens[i])
			ok = ok && whole
		}
		database, schema, table, op = names[0], names[1], names[2], tokens[3]
	default:
		ok = false
	}
	if !ok {
		return "", "", "", "", fmt.Errorf("parse subject %q: want %s.‹database›.‹schema›.‹table›.‹op› or %s.‹database›.%s", subject, prefix, prefix, commitToken)
	}
	return database, schema, table, op, nil
}

// CheckPrefix refuses a subject prefix that is not one or more tokens of A–Z a–z 0–9 _ - with dots between.
func CheckPrefix(prefix string) error {
	for token := range strings.SplitSeq(prefix, ".") {
		if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r >= 0x80 || !plain(byte(r)) }) {
			return fmt.Errorf("check subject prefix %q: want tokens of letters, digits, _ and - with dots between", prefix)
		}
	}
	return nil
}

func knownOp(op string) bool {
	switch op {
	case "insert", "update", "delete", "truncate", OpRead:
		return true
	}
	return false
}

func plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

const upperHex = "0123456789ABCDEF"

func appendToken(b []byte, name string) []byte {
	if name == "" {
		return append(b, empty...)
	}
	for i := range len(name) {
		if c := name[i]; plain(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return b
}

func unescape(token string) (name string, ok bool) {
	if token == empty {
		return "", true
	}
	b := make([]byte, 0, len(token))
	for i := 0; i < len(token); i++ {
		c := token[i]
		if c == '%' {
			if i+2 >= len(token) {
				return "", false
			}
			hi, lo := strings.IndexByte(upperHex, token[i+1]), strings.IndexByte(upperHex, token[i+2])
			c = byte(hi<<4 | lo)
			if hi < 0 || lo < 0 || plain(c) {
				return "", false
			}
			i += 2
		} else if !plain(c) {
			return "", false
		}
		b = append(b, c)
	}
	return string(b), len(b) > 0
}
