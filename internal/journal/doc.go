// Package journal is the ordered, durable log of committed transactions: a directory of segments (package segment says
// what is in one), written by capture and read by every sink.
//
// # State
//
// The directory holds files named by their sequence number, 16 digits and ".tms". The numbers are contiguous. All but the
// newest are sealed; the newest is the tail, or sealed as well if nothing was written since. In memory there are three
// places: written (the end of the last complete transaction that was written), durable (the same, as of the
// last fsync: what readers see and what may be acknowledged), and the end of the bytes, which may lie behind written while
// a transaction is open.
//
// One goroutine appends, discards and seals. Another one, the syncer, fsyncs: one fsync covers everything that was written
// before it began, whatever is written meanwhile joins the next. Readers never see bytes that are not fsynced, so a
// sink never holds what the journal could lose.
//
// # Invariants
//
//   - durable ≤ written, both only grow. durable is published after the fsync returned, with the value written had before
//     the fsync began.
//   - The bytes behind a place that was cut are cut durably before anything else is written there.
//   - A segment's seal is durable before the next file exists. A new file's header and name are durable before a frame is
//     written to it.
//   - Files disappear from the oldest on, one durable unlink after the other, never the newest and never one that a reader
//     stands in: numbers stay contiguous.
//   - An fsync that failed is final. The journal is broken, every call says so, and only opening it anew, which reads from the
//     disk, tells what is really there.
//
// # What a crash means at each step
//
//	append      the tail ends in anything; it is cut back to the last complete transaction. What was acknowledged
//	            was fsynced before and stays.
//	discard     the open transaction is there or not; it has no last part and is cut.
//	fsync       as append.
//	seal        the seal is torn: it is cut, and the segment is the tail again. Or it is whole: see create.
//	create      the newest file is sealed, and the next one is not there, or is empty or torn within its header: it is
//	            removed, and the next append creates it again. No frame can have been in it.
//	retain      the oldest file is there again, sealed and good. It is removed at the next call.
//	recover     cutting and removing is repeated.
//
// A process that died without a crash of the machine may leave bytes that are only in the kernel's cache, so Open fsyncs the
// tail and the directory before it says what is durable. Damage that no crash explains is refused with the place of it
// (segment.CorruptionError) and nothing is changed: the archive or the slot still has what was there.
//
// A full disk (or MaxSize) is no such error: Append takes its partial bytes back, says ErrFull, and may be repeated.
package journal
