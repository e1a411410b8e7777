// Package rpo says how much would be lost if the primary died now. It reads positions and times, and touches nothing.
//
// # Exposure
//
// The lag of a copy is the age, on the source's clock, of the oldest commit that is not yet durable in that copy. It is
// never "now minus the last commit": an idle source would look ever worse, and a stuck stream ever the same.
//
//   - A commit that we received and that the copy does not hold yet: its age.
//   - Nothing is missing of what we received, and the source confirmed within FreshFor that we have received
//     everything: 0.
//   - Otherwise there may be commits that we do not know of: the time since the last such confirmation. So lag grows
//     while we are disconnected, or while the stream is stuck.
//
// A copy can only hold what the journal holds: no copy's lag is below the journal's own.
//
// The source's clock is the service's clock plus the measured offset. Commit times may be out of order by a little; the
// oldest missing commit is the one with the smallest time among those missing, never merely the next.
package rpo
