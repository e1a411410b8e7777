// Package jetstream is the sink that publishes row changes to a NATS JetStream stream, and the embedded NATS server for
// installations that have none. Package event makes the messages; this package keeps their order, stores each of them
// once, and knows what is stored.
//
// # Order
//
// Messages are published in commit order through a window of outstanding acknowledgements. Every message carries
// Nats-Expected-Last-Sequence and Nats-Expected-Last-Msg-Id, which name the message before it, so the server stores it only
// directly behind that one. The client library's own retries and reconnects, which would send a message again
// behind later ones, are not used: the first error ends the session.
//
// # Position
//
// The stream's last message is the position. Each transaction that puts rows into the stream ends with a commit marker, a
// message of its own. Stored is the end of the transaction of the last marker; Covered runs ahead of it over
// transactions that put nothing into the stream, when all before them is acknowledged. When Stored stays behind for long, a
// marker without rows moves it, so that the journal need not keep what nobody needs.
//
// The last marker must therefore outlive every idle time: the streams that we make have no maximum age. The
// sink removes what is older than the retention itself, up to the last marker.
//
// # What a crash means
//
//   - Before a message was stored: the next session finds an earlier last message and publishes it.
//   - After it was stored, before its acknowledgement arrived: the next session finds it as the last message and goes on
//     behind it. The journal is read from behind the last marker, so it gives the whole transaction again; rows up to the last
//     message's position are skipped.
//   - Messages still under way from the lost connection when the next session has read the last message: one of the two
//     sessions loses at the expected last message. A message is never stored twice, and the loser starts over.
//   - Between the rows of a transaction: subscribers see rows without their marker, which comes after the restart. Who needs
//     whole transactions collects rows until the marker.
//   - The server lost acknowledged messages: the stream ends earlier, Stored is lower, and the Runner reports that the target
//     went back and publishes from there. Only a server that syncs before it acknowledges (sync_interval: always, as
//     the embedded one does) or several replicas keep what they acknowledge.
//
// A last message that is not ours, or of another system, and a stream that was emptied, stop the sink: going on would
// mix two histories or repeat one.
package jetstream
