// Package capture owns the replication connection: it receives what the slot sends, assembles transactions without
// reading their rows, hands them to the journal, and tells the source what is durable.
//
// # The story of a transaction
//
//	connect      a replication connection; identity, publication and slot are held against the journal again, on this
//	             very connection; then START_REPLICATION at the end LSN of the last transaction that was appended:
//	             never 0, which would trust a slot position that goes back after a crash of the source, and never +1,
//	             because the next commit record may begin exactly there
//	open         Begin was read. Row messages are copied into the current part, with the definitions of their
//	             relations. A part is handed over when it is full (1 MiB of payload, 1000 relations) and another row
//	             comes, or when a relation in it gets another definition. The journal holds such parts, but shows them to nobody
//	appended     Commit was read and its last part was accepted. Order and identity of the transaction are now its end LSN
//	durable      the journal's fsync returned, and it wrote so on the board. Other stages of the acknowledge set follow
//	acknowledged the lowest stage of the acknowledge set has reached the end LSN, and a status update said so
//
// What an end at each step means. Connection lost while open: the parts are discarded in the journal, nothing of the
// transaction remains, and the source sends it again from its beginning. Lost after appended: we start behind it, so it
// does not come twice, whatever the slot still believes. Process dead while open: the journal cuts the open tail back
// when it opens. Process dead after appended, before durable: the transaction may be gone; it was never acknowledged, so it comes
// again. Dead after durable: the journal's end tells where to start. Source crashed: it may have forgotten what we
// acknowledged, which is why only our own position counts.
//
// # Feedback
//
// One function computes what is reported, and one goroutine sends it:
//
//	write = flush   the lowest position of the acknowledge set
//	apply           the standby's position if there is a standby (the slot's, until the standby has told its own), else
//	                the same as flush
//
// Both never go back and are never 0. One addition keeps an idle slot moving: when a keepalive comes, or a transaction without
// rows ends, while no transaction is open, everything before its LSN has been received. That LSN is appended to the journal as a
// frontier, at most every 100 ms, and reported once the journal holds the frontier and the acknowledge set has reached
// the last transaction before it. Without the frontier the slot would stand beyond the journal's end at the next start, which
// is how a journal looks that lost its end. A keepalive within a transaction never counts: its LSN can be that
// transaction's own commit.
//
// A report is sent at once when it moved and when the source asks. Every second, and when a keepalive came too early for a
// frontier, it asks for an answer, which carries the source's position and clock. Sending never waits for receiving: while a full journal holds the reader, feedback goes
// on, and the source keeps the connection.
//
// A source that shuts down waits until we have confirmed everything. Heartbeat sees that it does and calls Leave: feedback goes
// on for 1.5 seconds, and then the connection is closed, so that neither a full journal nor a copy that is away holds the
// source. What was not confirmed comes again from the slot.
//
// # Silence
//
// A peer, or something between, that takes all and says nothing keeps TCP content. Since the source is asked every second, a
// read that gets no byte for as long as the source would bear our silence (wal_sender_timeout) ends the connection. Only
// waiting for the source counts: while a full journal holds the reader, nobody listens. See listener.
//
// # Errors
//
// Transient errors end the connection and Loop makes a new one. ErrRefused means that the source must be mended by
// someone; ErrFatal that we do not know what the journal holds, or that the source sent what we do not understand.
// Nothing is ever skipped.
package capture
