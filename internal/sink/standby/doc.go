// Package standby is the sink that keeps another PostgreSQL equal to the source. It decodes the journal's frames and hands rows to
// package apply, which says how they take effect, what is atomic, and what a crash leaves.
//
// The position is the progress row on the standby, written in the transaction that applies. One call of Apply commits
// at its end, and before that whenever BatchRows changes have gathered: always whole source transactions,
// several of them together where they are small. A transaction in several parts is applied as its parts come, over
// several calls if need be, in a target transaction of its own, which is committed with its last part.
//
// # Errors
//
// Permanent, because only an operator can mend them and going on could do harm: the standby belongs to another source,
// somebody else moved its progress row, a right is missing, a frame does not decode. Everything else is retried by the
// Runner, for ever and in the log: a lost connection, but also a table that does not fit and a row that is refused. Nothing is skipped;
// once the standby is mended, the next attempt goes on at the same transaction.
package standby
