// Package segment is the file format of a journal segment and, compressed as a whole with zstd, of an archive object.
// It works on plain readers and writers and never looks inside a frame's payload.
//
// # Layout
//
// All integers are little endian. A segment is
//
//	magic     8 bytes  "TMSEG" 0x00 0x01 0x0A
//	length    4 bytes  of the header
//	checksum  4 bytes  CRC-32C of length and header
//	header    proto tidemark.segment.v1.Header, padded with zeros to a multiple of 8
//	frames    each begins at a multiple of 8
//	seal      the last frame of a closed segment, its payload a tidemark.segment.v1.Footer
//
// A frame is a fixed header, a meta block, a payload, and zeros up to a multiple of 8:
//
//	 0  magic      4  0x544D4652 ("TMFR")
//	 4  kind       1  1 definition, 2 part, 3 seal
//	 5  flags      1  bit 0 first part of its transaction, bit 1 last part
//	 6  meta       2  bytes of the meta block
//	 8  payload    4  bytes of the payload
//	12  checksum   4  CRC-32C of meta block and payload
//	16  subject    4  definition: relation id; part: xid of the transaction
//	20  part       4  number of the part in its transaction, from 0
//	24  ordinal    4  ordinal of the part's first change
//	28  rows       4  changes in this part
//	32  synced     8  bytes of this file that were known to be fsynced when the frame was written
//	40  commit     8  start LSN of the transaction's commit record
//	48  end        8  end LSN of the transaction; 0 in all but the last part
//	56  time       8  commit time, microseconds since 2000-01-01 UTC
//	64  checksum   4  CRC-32C of the segment's nonce and the 64 bytes before
//	68  zero       4
//
// The meta block of a part lists its rows per relation: for each relation its id, inserts, updates, deletes and
// truncates, as unsigned varints. A part's count is their sum. The payload of a part is a sequence of pgoutput messages (insert, update, delete,
// truncate, origin), each behind its length as an unsigned varint, byte for byte as the source sent them. Begin and
// commit messages are not stored: frame header fields hold all that they say. The payload of a definition is the type
// messages and the relation message of one relation, in the same form.
//
// The seal frame's header holds only its kind, its payload size and synced. It is the last thing in the file, so it is found
// from the end: the frame header with kind 3, a good checksum, and exactly its own length left behind it. Nothing may
// follow it. The footer's index names places between transactions, and its list of definitions lets a reader that starts
// at such a place first take the definitions that stand before it, without walking there.
//
// A part without changes and with xid 0 is a frontier: the source said that everything that ends at or below its end LSN
// stands before it. It moves the journal's end while nothing is committed, and is counted like a transaction. Its time
// is the source's clock at that moment, which is no commit time and does not count in the footer's: a commit that
// follows may be a little older.
//
// # Invariants
//
//   - Transactions stand in commit order; their end LSNs grow strictly. Parts of one transaction follow each other
//     with nothing but definitions between, number 0 has the first flag and the highest number has the last flag.
//   - A part stands behind a definition of every relation in its meta block, in the same segment, and the latest
//     definition of a relation before the part is the one that held for it. So a reader can start at any segment, and
//     one that skips transactions keeps only definitions. A relation that changes within a transaction ends the part.
//   - A transaction lies in one segment: a segment ends only at a transaction's end, so a very large
//     transaction makes a large segment.
//   - A segment's header names the digest of the one before: the chain shows a segment that was lost, swapped or changed.
//   - Sizes of header and meta block are limited (MaxHeader, MaxMeta); a reader takes memory only for bytes that are there.
//   - The nonce in the frame checksum keeps bytes inside a row from passing for a frame.
//
// # What a crash leaves, and what it means
//
// Frames are appended and fsynced in groups. After a crash the tail segment may end in the middle of anything. Reading
// stops at the first place that is no whole, valid frame. What follows decides between torn and rotten:
//
//   - no valid frame behind it says (in synced) that this place had been fsynced: a torn tail. It is cut back to the
//     end of the last complete transaction. Nothing that was acknowledged is lost, because acknowledging follows fsync.
//   - a valid frame behind it says that this place had been fsynced: the disk lost what it promised. The segment is refused, never cut.
//   - damage in a sealed segment is always refused.
//
// A crash before the header was fsynced leaves an empty or unreadable file with no valid frame: the
// journal removes it when it is the newest and the one before is sealed. A crash between seal and the creation of the next segment
// leaves a sealed tail: the next append opens a new one. An open transaction whose source connection was lost is taken back by
// truncating to the end of the last complete transaction and fsyncing before anything else is written, so that old
// bytes never come back behind new ones.
package segment
