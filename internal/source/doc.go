// Package source is what Tidemark owns and expects on the primary: the schema tidemark, the publication, the slot, and
// the heartbeat. It prepares them (Init), inspects them (Check), guards the start of capture (Gate), keeps the heart
// beating (Heartbeat), and removes everything again (Destroy).
//
// # Order
//
// Init makes the schema, then the publication, then the slot, and each step can be repeated. Catalogs are read as they
// were at a WAL position: a slot that is older than its publication fails at its first change (PostgreSQL up to 17)
// or silently skips what came before (from 18 on). A crash between two steps leaves something that the next Init finishes.
//
// The publication lists its tables one by one and is never FOR ALL TABLES: a publication makes UPDATE and DELETE fail on
// every table without a replica identity, so a new table must not join by itself. For a partitioned table
// the root is listed and its leaves are published under their own names (publish_via_partition_root = false).
//
// # Generation
//
// PostgreSQL does not say where a slot began. Init therefore writes the slot's consistent point into tidemark.slot, and
// every journal segment names it. A slot that someone dropped and made again by hand still has the old row; what shows it then
// is that its confirmed position is ahead of the journal's end, which Gate refuses. A crash between the slot and its row
// leaves a slot without a row: the next Init takes the slot's confirmed position as its generation.
//
// # Rights
//
// Init needs a role with REPLICATION, CREATE on the database, and ownership of the tables, or an administrator who runs
// the statements that its refusals name. Afterwards the service needs REPLICATION and the rights on its own tables.
//
// Nothing here reads rows of the application's tables.
package source
