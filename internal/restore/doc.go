// Package restore makes a database as it was at a past moment, from an archive alone. It plans first (Make, pure), then
// works (Run).
//
// # What a target means
//
//   - a time T: every transaction, in commit order, before the first one that committed later than T. Transactions with
//     the same time go together. Commit times are the source's clock at the moment of commit; they are not always in commit
//     order, so one that is late ends the restore although earlier times may follow: the report says so, and an LSN reaches them.
//   - an LSN: every transaction that ends at or below it.
//   - latest: every transaction of the archive.
//
// A target that the archive cannot reach is refused with the range that it covers: before the first base, behind the last
// transaction, or behind a missing or damaged object. Nothing is touched before that is known.
//
// # The order, and what a crash at each step leaves
//
//  1. Look: every object needed is listed, the target database is empty. A crash leaves nothing.
//  2. The schema before the rows, the rows in parallel, the schema after the rows (indexes, constraints, triggers). A crash
//     leaves a target without a progress row: not empty, begun again with Force.
//  3. The progress row at the base's LSN, then the transactions behind it through package apply, which moves the progress row
//     with them. A crash leaves a consistent database of an earlier moment, which the progress row names.
//  4. Sequences are put ahead of every value known to have been drawn, and of every value in the columns that they feed.
//  5. Materialized views are refreshed: they show the target's moment, not the one at which the source refreshed them last.
package restore
