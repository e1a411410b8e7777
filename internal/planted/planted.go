package planted

// A Bug is the name of a mistake.
type Bug string

// Acknowledging too much, or the wrong thing.
const (
	// AckOnReceipt acknowledges what was handed to the journal, fsynced or not. I4. It shows in the trace under any load.
	AckOnReceipt Bug = "ack-on-receipt"
	// AckCommitLSN acknowledges the start of the commit record in place of the transaction's end. The source then never sees the
	// last transaction confirmed. I8, and in the trace: nothing ends there. Any load.
	AckCommitLSN Bug = "ack-commit-lsn"
	// KeepaliveAcked acknowledges a keepalive's position while a transaction below it is still coming or not yet durable.
	// I4. It needs a large transaction or a slow connection, so that keepalives come within one.
	KeepaliveAcked Bug = "keepalive-acked"
	// FsyncSkipped publishes every third group as durable without its fsync. I4. Any load; only the trace shows it, because a
	// process that is killed loses nothing of the kernel's cache.
	FsyncSkipped Bug = "fsync-skipped"
	// TailCut cuts the last transaction with rows off the journal when it is opened, and nobody holds the journal against the slot
	// any more. I5, I1. It needs a restart whose last transaction was acknowledged and is not in every copy.
	TailCut Bug = "tail-cut"
)

// Losing or repeating transactions.
const (
	// StartPlusOne starts replication one byte behind the last end LSN. I1: a transaction is lost whose commit record begins
	// right there. It needs a restart or reconnect, and a commit as the very next record (a transaction that was prepared before).
	StartPlusOne Bug = "start-plus-one"
	// SkipCommitAtWatermark takes a transaction for a repetition when its commit record begins where the last one
	// ended. I1. It needs commits of several sessions that follow one another without a record between.
	SkipCommitAtWatermark Bug = "skip-commit-at-watermark"
	// DiscardForgotten keeps what was received of a transaction when the connection is lost in it, and so gets those rows
	// twice. I3. It needs a connection to the source that is cut within a transaction.
	DiscardForgotten Bug = "discard-forgotten"
	// RelationKept keeps the definitions of relations over a reconnect. I10: columns under names that they no longer have. It
	// needs a connection that is cut, and a change of a table's definition (such as a renamed column, or another replica identity)
	// before the next, in the same process.
	RelationKept Bug = "relation-kept"
)

// Applying rows wrongly, on the standby and in a restore.
const (
	// ToastNull writes an unchanged TOASTed value as NULL. I10. It needs an update beside such a value.
	ToastNull Bug = "toast-null"
	// OldKeyIgnored looks for the new key where a key changed, and takes it well that there is none. I1. It needs an
	// update of a key, and no TOASTed value in the row.
	OldKeyIgnored Bug = "old-key-ignored"
	// TruncateIgnored passes over TRUNCATE. I1.
	TruncateIgnored Bug = "truncate-ignored"
	// FullDeletesAll hits all equal rows under replica identity FULL, not one. I3. It needs duplicate rows.
	FullDeletesAll Bug = "full-deletes-all"
	// NullIdentity compares with = under replica identity FULL, so that a row with a NULL is not found, and takes that well. I1. It
	// needs updates or deletes of such rows in a table without a unique index.
	NullIdentity Bug = "null-identity"
	// ProgressOutside moves the progress row in a transaction of its own behind that of the data. I1, I3. Readers who see
	// both at once see it between the two; a kill there applies the transactions again.
	ProgressOutside Bug = "progress-outside"
	// BatchReordered swaps the last two rows of a table within a transaction on the standby only, where the later one is a delete or
	// an update that keeps its key, and takes it well when a row is not there yet. I1. It needs transactions that change a row twice.
	BatchReordered Bug = "batch-reordered"
)

// The stream.
const (
	// ToastNullEvent publishes an unchanged TOASTed value as null in place of naming it under "unchanged". I10.
	ToastNullEvent Bug = "toast-null-event"
	// PublishReordered is BatchReordered for the stream: positions go back within a transaction. I3, I6. It needs transactions
	// with two rows of a table.
	PublishReordered Bug = "publish-reordered"
	// PublishWithoutID takes the last acknowledgement for lost when a connection is lost, and repeats that transaction without
	// looking at what the stream holds, without message id and without expected sequence. I3. It needs a connection to NATS
	// that is lost while the service runs.
	PublishWithoutID Bug = "publish-without-id"
	// StreamResumeOff goes on one message too far behind what the stream holds. I1. It needs a restart of the service or of
	// NATS, or a connection between them that is lost.
	StreamResumeOff Bug = "stream-resume-off"
)

// The archive and restores.
const (
	// ArchiveEarly stores objects in the background, reports their position at once, and only logs what fails. I1: a hole. It
	// needs a store that does not answer within a second, or a reader that holds the position against the objects.
	ArchiveEarly Bug = "archive-early"
	// RestoreByTime leaves out what committed later than the target, and goes on behind it. I11. It needs commit times that
	// are not in commit order around the target; restore --to with the variable set.
	RestoreByTime Bug = "restore-by-time"
)
