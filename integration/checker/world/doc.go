// Package world is what one run happens in: three throw-away PostgreSQL servers, a NATS server and an S3 server, the
// tidemark program as a process, a fault proxy on each of the program's four hops, and a disk of its own under the journal.
//
// The service knows proxied addresses only; the checker itself takes the direct ones:
//
//	service ── Hop("source")  ──────────────── Primary
//	        ── Hop("standby") ──────────────── Standby
//	        ── Hop("nats")    ──────────────── NATS
//	        ── Hop("archive") ── HTTP faults ── S3
//	        ── journal on Disk
//
// Every process is a child in a process group of its own, is stopped by its pid, and is ended by the kernel should the
// checker die. Close stops everything and leaves all files: below Config.Dir lie the servers' data and logs, the journal
// (which has been copied off its disk), the service's log and its trace.
//
// Faults do not overlap by themselves: one setting of a hop replaces the one before. Whoever injects them keeps book.
package world
