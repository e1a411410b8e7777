// Package demo runs the whole path on throw-away servers: a primary under a mixed load, a standby, an embedded stream
// and a directory archive; then it loses a table, restores to the moment before, and compares everything with the
// primary's own state. It proves nothing by looking at what the service says: the standby and the restored database
// are compared by digests that PostgreSQL computes, and the stream is folded back into tables by a consumer that knows
// only the published JSON.
package demo
