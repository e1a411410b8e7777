// Package workload writes to the primary: many sessions, tables of every shape, random transactions from a seed.
//
// A transaction that changes a published table also inserts its row (session, seq) into public.ledger, in the same
// transaction. What its client saw is its outcome: Acked when COMMIT answered, Aborted when it was rolled back or failed before COMMIT
// was sent, Unknown when the connection was lost after that. Acked rows must be there, aborted ones must not, wherever the history
// is looked at; sessions delete their own rows again, long after, so that the table stays small.
//
// A prepared transaction is Unknown until it is resolved. A session that finds prepared transactions of its own after it
// has connected anew resolves them before anything else, and sets their outcome.
//
// Every session draws from a source of its own, (seed, session), so that the same seed and the same answers give the
// same statements. Errors that a busy database gives (deadlock, serialization, unique violation, shutdown …) abort the
// transaction; any other error ends the load, because a statement that never works tests nothing.
//
// The primary needs max_prepared_transactions of at least sessions + 4, and the sessions a superuser (replication origins).
package workload
