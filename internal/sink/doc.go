// Package sink runs destinations. A Runner, one per sink, reads the journal behind the sink's own position up to what
// is durable, hands frames on in commit order, and writes on the progress board how far the target has come.
//
// A sink keeps its position inside its own target, changed atomically with the data, so the two cannot disagree. The
// Runner has no memory: after any error it closes the sink, waits, opens it again and goes on behind the position that Open
// returns. A failed sink stops nothing else (P5); a permanent error stops this sink, loudly, until an operator acts (P7).
package sink
