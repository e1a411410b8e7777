// Package crashfs is a vfs.FS in memory that knows what was synced, for tests. Crash gives what a power failure could
// leave: the synced state, and by choice some of what was not synced. Faults make chosen operations fail, and Halt
// stops the file system at a chosen step, so that a test can crash at every step of a workload.
//
// It is stricter than most file systems: a new file's name is lost without SyncDir, even when the file itself was
// synced; and after a failed Sync, later Syncs of that file return nil and make nothing durable, as Linux does.
package crashfs
