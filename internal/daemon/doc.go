// Package daemon builds the stages and runs them together.
//
// # Start
//
//	HTTP port taken → journal inspected → source prepared (if asked) → gate → journal opened → embedded NATS server →
//	capture, one runner per sink, heartbeat, retention
//
// What can be refused is refused before anything is written: a port in use, a journal of another cluster, a slot that does not continue
// it, a setting without sense. A source that cannot be reached refuses nothing where there is a journal: the copies get what it
// holds, and capture asks at the gate before it streams. Open returns one error that says what to do. After Open nothing on the source or in a sink ends the service:
// stages reconnect.
//
// # While running
//
//   - A sink's error stops nothing else; its runner tries again, or stops until the service is restarted, and says so
//     in status and on /readyz.
//   - A source that refuses (slot lost, another cluster) stops capture, loudly; sinks go on with what the journal holds.
//   - An error of the journal means that its state on disk is unknown: everything stops, and the next start recovers from disk.
//
// # Stop
//
// Capture first, with a last report to the source of what is durable; then the sinks, then the embedded server that one
// of them talks to; then the journal, because all of them read it; HTTP last, so that it can say what is going on. Each step
// is bounded; what it cuts off is as safe as after a crash.
package daemon
