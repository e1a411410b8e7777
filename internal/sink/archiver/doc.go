// Package archiver is the sink that writes the journal into an archive (package archive).
//
// Whole transactions are gathered in memory, compressed, and stored as one journal object when FlushSize is reached or
// FlushInterval has passed since the first of them; nothing is stored when nothing happened. The position is the newest
// object's: it moves only when the object is there.
//
// # Fencing
//
// Objects have contiguous numbers and are created only if absent. When the number is taken, what is there is compared:
//
//   - the same bytes: our own write, whose reply was lost. It counts.
//   - bytes of an earlier write of this sink that had failed for all we knew, or an object begun before this sink
//     was: a late write of ourselves or of our predecessor. It is taken up by opening again, which verifies it.
//   - anything else: another writer is at work. The sink stops for good.
//
// The clock in the second case only decides between going on and stopping. What is taken up must continue the chain, and
// an object is never overwritten.
//
// # Memory
//
// The object is held compressed. It outgrows FlushSize only by one transaction, because a transaction lies in one object;
// one that compresses to more than archive.MaxObject stops the sink.
package archiver
