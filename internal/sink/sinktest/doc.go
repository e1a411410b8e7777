// Package sinktest holds the conformance suite that every sink passes, and what it needs: a builder of frames with real
// pgoutput messages, and a journal in memory that breaks a reader's frames as soon as they are no longer valid.
//
// The suite asks the target itself, not the sink, what it holds: every row says which position it belongs to, so
// a lost, repeated or reordered effect is seen as such.
package sinktest
