// Package archive is what is in the bucket: names, journal and index objects, bases and their manifests; listing,
// reading and verifying them. The journal objects hold the same frames as a journal segment (package segment).
//
// # Layout
//
//	tidemark.json               whose changes: system identifier and database
//	journal/‹sequence›.tms.zst  a closed segment, compressed as a whole: whole transactions; numbers are contiguous from 1
//	index/‹sequence›.json       what a plan needs to know of the journal objects since the index object before
//	base/‹LSN›/manifest.json    a copy of all tables at one LSN; written last, its presence is the base
//	base/‹LSN›/…                its parts
//
// # Invariants
//
//   - Objects are created only if absent, and never overwritten. So two writers collide at the next number instead of
//     interleaving: the second one is fenced.
//   - A journal object's header names the number, the chain digest of the object before and the LSN where that one ended
//     (after). The first object's after is where the archive begins.
//   - An index object covers the objects behind the one before, so that index objects together list every object but
//     the newest. Where an index ends depends on the objects alone (indexCount, indexBytes), not on who writes it when.
//     Index objects repeat what the journal objects say: one that is missing or damaged is made up for by reading them.
//   - Digests: an index holds the SHA-256 of an object's bytes, as stored, and its chain digest, over the segment within.
//
// # What a crash leaves
//
//   - Before an object's Create returned: nothing, or the whole object. The next writer finds out by listing, and takes up
//     behind what is there.
//   - Between an object and the index due after it: the next writer writes the index, with the same content.
//   - Parts of a base without a manifest: not a base; nobody reads them.
package archive
