package archive

import (
	"time"

	"tidemark/internal/position"
)

// Manifest describes a base: a copy of all published tables as they were at one LSN. It is written last; its presence is
// the base. Keys in it are relative to the archive's prefix.
type Manifest struct {
	Format        int          `json:"format"` // 1
	SystemID      string       `json:"system_id"`
	Timeline      int32        `json:"timeline"`
	Database      string       `json:"database"`
	ServerVersion int          `json:"server_version"` // server_version_num
	Encoding      string       `json:"encoding"`
	LSN           position.LSN `json:"lsn"` // the consistent point: the base holds exactly the transactions that end at or below it
	// Time is the source's clock right after the snapshot was taken: no transaction in the base committed later.
	Time       time.Time  `json:"time"`
	SchemaPre  Part       `json:"schema_pre"`  // pg_dump --section=pre-data
	SchemaPost Part       `json:"schema_post"` // pg_dump --section=post-data
	Tables     []Table    `json:"tables"`
	Sequences  []Sequence `json:"sequences"`
	Seconds    float64    `json:"seconds"` // how long the base took
}

// Table is a table's rows in a base.
type Table struct {
	Schema  string   `json:"schema"`
	Name    string   `json:"name"`
	OID     uint32   `json:"oid,omitempty"` // on the source: a later table of the same name has another; 0 when not known
	Columns []string `json:"columns"`       // of the COPY data, in order; generated columns are left out
	Rows    int64    `json:"rows"`
	Parts   []Part   `json:"parts"`
}

// Part is one object of a base, zstd-compressed.
type Part struct {
	Key    string `json:"key"`
	Rows   int64  `json:"rows,omitempty"`
	Size   int64  `json:"size"`   // bytes of the object
	Raw    int64  `json:"raw"`    // bytes before compression
	SHA256 string `json:"sha256"` // of the object's bytes, hexadecimal
}

// Sequence is a sequence's value when the base was taken. Sequences are not transactional: it is at least the value at LSN.
type Sequence struct {
	Schema    string `json:"schema"`
	Name      string `json:"name"`
	LastValue int64  `json:"last_value"`
	IsCalled  bool   `json:"is_called"`
	Increment int64  `json:"increment"`
}
