package postgres

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Ident quotes a possibly qualified identifier: Ident("public", "Order") is "public"."Order".
func Ident(parts ...string) string { return pgx.Identifier(parts).Sanitize() }

// Literal quotes a string for SQL and for the replication protocol.
func Literal(s string) string {
	s = strings.ReplaceAll(s, "\x00", "")
	if strings.Contains(s, `\`) {
		return ` E'` + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(s) + `'`
	}
	return `'` + strings.ReplaceAll(s, `'`, `''`) + `'`
}

// Version is a server's version number as server_version_num gives it: 170010 is 17.10.
type Version int

// ParseVersion reads server_version_num.
func ParseVersion(s string) (Version, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 10000 {
		return 0, fmt.Errorf("parse server version %q: want server_version_num", s)
	}
	return Version(n), nil
}

// Major is the major version: 17.
func (v Version) Major() int { return int(v) / 10000 }

// String gives major.minor.
func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major(), int(v)%10000) }
