// Package vfs is the few file operations that the journal needs, each with the durability it has on a POSIX file
// system. Package vfs/crashfs implements the same in memory and forgets what was not synced (tests).
//
// Rules that callers keep: a file's bytes are durable after its Sync; a file's name (created or removed) is durable
// after SyncDir of its directory. An error of Sync is final: the kernel may have dropped the dirty pages, so a second Sync
// that succeeds proves nothing. The caller stops and reads from disk again.
package vfs
