// Package migrations holds the versioned SQL that makes what Tidemark owns inside other databases: the schema tidemark
// on the source and on the standby. Files are numbered from 001 without holes and never change once released.
package migrations

import "embed"

// Source holds source/*.sql: what Tidemark owns on the primary.
//
//go:embed source/*.sql
var Source embed.FS
