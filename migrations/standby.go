// Package migrations holds the SQL that prepares the two sides, versioned and embedded: source/ for the primary,
// standby/ for every database that changes are applied to. A file is named ‹number›_‹what›.sql, numbered from 001
// without a gap, and is never changed after it was released. The two sides keep their version in tables of different
// names, because a standby that was promoted becomes a source.
package migrations

import "embed"

// Standby holds the migrations of a target, under the directory "standby".
//
//go:embed standby/*.sql
var Standby embed.FS
