// Package apply turns transactions of a source into SQL on a target PostgreSQL 14–18. The standby sink uses it all
// day; restore uses the same path, so that a restored database is made by code that is known to run.
//
// # The story of a transaction
//
//	Open      connects, makes schema tidemark where it is missing, takes the stream's advisory lock, sets and checks the session
//	Position  reads the progress row: where the target stands
//	Begin     a transaction of the source begins
//	Row …     its changes, in order: each becomes one prepared statement, sent without waiting for the one before
//	End       it is complete; more transactions may follow in the same target transaction
//	Flush     checks every result, moves the progress row, and commits the target transaction
//
// # Invariants
//
//   - A target transaction holds whole source transactions, in commit order, and the progress row that names the last of
//     them. Readers of the target see only states that the source had between two commits.
//   - The progress row moves with a guard (from the position that was read, to the new one), exactly one row. If it does
//     not match, somebody else wrote it: ErrFenced, and nothing is committed.
//   - Every insert, update and delete changes exactly one row. Anything else is divergence: ErrDiverged, and nothing is
//     committed or skipped. A trigger of the target that swallows a row counts as divergence too.
//   - After an error an Applier is of no more use: Close it and Open another, which reads where the target really stands.
//
// # What a crash or a lost connection leaves
//
//   - Before COMMIT was sent: nothing. The server rolls back; the position is the old one.
//   - After COMMIT was sent, before its reply: either. The old backend may still be committing while we reconnect, so Open
//     waits for the advisory lock, which that backend holds until it has ended, and only then is the position read.
//   - A machine crash of the target: our sessions commit with synchronous_commit=local, so a position that Flush returned is
//     on the target's disk.
//
// # How rows find their place
//
// The replica identity decides. With a key (DEFAULT, USING INDEX) the row is found by the key's own equality operator, under
// which it is unique; the old key comes from the old tuple when the source sent one (the key changed, or is
// TOASTed) and from the new tuple otherwise. With FULL it is found by a unique index of the target, if there is one over
// NOT NULL columns; otherwise by all its columns, and exactly one of the equal rows is touched (by ctid). There, equality is not
// identity (1.0 = 1.00, -0 = 0, 24 hours = 1 day), and some types have no equality (json, xml, point): columns of such types are
// compared by their text first, and by their own equality only if no row has that text.
//
// An unchanged TOAST value is left alone. Generated columns are never written. A GENERATED ALWAYS identity column cannot
// be updated at all: it is left out when it did not change, and where it did the row is deleted and inserted again in one
// statement, with every column that was not sent taken from the deleted row.
//
// # Triggers and constraints of the target
//
// The session runs with session_replication_role=replica: ordinary triggers, rules and foreign keys do nothing, because
// their effects arrive as rows. Triggers that are ENABLE REPLICA or ENABLE ALWAYS fire. CHECK, NOT NULL, domains and
// non-deferrable unique and exclusion constraints hold, row by row, as they did on the source.
//
// Replica mode also switches off the check of DEFERRABLE unique and exclusion constraints. Applying such tables in
// origin mode would fire their foreign keys and triggers a second time, and foreign keys, checked row by row, would refuse
// what a whole statement was allowed. So they are applied in replica mode too, and before COMMIT the values written are
// looked up in the constraint's index: a duplicate, which only divergence can produce, stops the commit. Not checked are exclusion
// constraints over expressions or with a predicate (a warning names them), and null values under NULLS NOT DISTINCT.
//
// TRUNCATE of several tables is one statement over those of them that were published. CASCADE is not replayed: the source lists
// what it truncated, and a table of the target that refers to them and is not in the list makes the statement fail.
//
// # Schema drift
//
// DDL is not applied here. When a relation is first seen, or seen with another definition, its table is compared with
// it; a missing table or column or another type is a MismatchError, which says what to do. Once the table is as the
// source's, the next Open goes on where this one stopped. A table that was dropped and made again, or renamed, on the source is
// noticed by its OID there, as long as the process lives (Bindings).
//
// Tables of schema tidemark are bookkeeping of the source and are not applied, except tidemark.sequence: its rows set the
// target's sequence of that name, ahead by a margin, because values drawn after the last look at it are unknown.
package apply
