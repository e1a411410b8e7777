// Package oracle says what is true, by the primary's own word.
//
// # Reference log
//
// A slot of its own with PostgreSQL's example plugin test_decoding gives every transaction's end LSN, xid, commit time and row changes as text.
// Log parses and folds them (fold.State) and adds each transaction to a fold.Timeline. It reads as a replication client, not
// through pg_logical_slot_get_changes: that function confirms rows before anybody has received them, so that a primary which dies at
// that moment leaves a hole, and it decodes all WAL since restart_lsn again at every call.
//
// When the timeline is complete up to an LSN:
//
//   - The LSN of a COMMIT message is the transaction's end LSN (the plugin's write location in the commit callback). The server sends
//     transactions in the order of their commit records. So after COMMIT everything that ends at or below its LSN has been added.
//   - A keepalive gives the end of the last record that was decoded, always a record's boundary. It comes in the same
//     stream as the rows. So when it comes between two transactions, everything that ends at or below it has been added.
//     One that comes inside a transaction is not used.
//
// Only what was added is confirmed. A primary that crashes may forget what was confirmed, and sends transactions again: they
// are known by their end LSN and xid. It cannot forget what it sent: only flushed WAL is sent.
//
// # Exported snapshots
//
// A temporary slot's consistent point L and its exported snapshot, which sees exactly the transactions whose commit record lies before L,
// give every table's sum by SQL from the heap. Sampler compares it with the timeline at L. A difference is an Error: it says that the
// reference log, or the parser in this package, is wrong, so a run with one proves nothing.
//
// # Digest
//
// Digest and Rows compute in SQL what fold.Canonical and fold.Hash compute from text. A value's text is concat(v), which calls the
// type's output function (a cast to text does not, for bool and char(n)).
package oracle
