// Package change says what happened on the source: relations, rows and values as PostgreSQL sent them. It does no I/O
// and knows no wire format. Values stay PostgreSQL's own text (or binary) from end to end, so that no type has to be
// modelled twice and none can be bent on the way.
package change
