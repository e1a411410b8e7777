// Package position holds the two values by which everything in Tidemark is ordered: the LSN, a byte place in the
// source's write-ahead log, and the Position, a change inside a committed transaction.
//
// Commit order is the only order. A transaction is known by its end LSN (the byte after its commit record), never by
// the LSN of its commit record or of a change: a commit record may start exactly where the previous transaction
// ended, and several rows may share one change LSN. A change is known by its transaction's end LSN and its ordinal.
package position
