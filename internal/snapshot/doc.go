// Package snapshot copies all published tables as they were at one exact LSN: into an empty standby, or into the
// archive as a base.
//
// The exact LSN comes from creating a temporary logical slot that exports its snapshot: the server gives a consistent
// point L and a snapshot that holds exactly the transactions that end at or below L. The snapshot lives as long as the
// connection that made it stays idle and open; sessions that import it see the same rows, whatever is committed
// meanwhile. What ends above L comes through the main slot, which was made before: no gap and no overlap.
//
// The order, and what a crash at each step leaves:
//
//  1. Dump the schema. It comes first because pg_dump takes locks of its own, and would wait behind whoever waits for ours.
//  2. Export the snapshot. It waits for the write transactions that are open. A crash leaves nothing: the slot is temporary.
//  3. Import the snapshot in every copying session and lock all tables in ACCESS SHARE mode, so that no TRUNCATE, ALTER or
//     rewrite can pass under the copy; those are not seen by a snapshot, and COPY would miss rows. Then compare the
//     catalogs as the snapshot sees them with those of now and those before the dump: when anything slipped in, the
//     snapshot is thrown away and taken again.
//     The sessions ask for their locks at the same moment and wait for a moment only: behind a TRUNCATE that waits for one
//     of them the others would wait for ever. When that happens all give up their locks, one waits until they can be had,
//     and all ask again.
//  4. Standby: schema before the rows, rows, schema after the rows, sequences. A crash leaves a target that has no progress row: not
//     seeded, refused by the standby sink, and begun again with force.
//     Base: schema and rows in parts. A crash leaves parts that no manifest names, which nobody reads.
//  5. Standby: the progress row at L. Base: the manifest. Only now does the copy exist.
package snapshot
