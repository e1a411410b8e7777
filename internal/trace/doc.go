// Package trace writes down, while the service runs, what it made durable and what it acknowledged, so that somebody else can
// hold the two against each other. It is off unless it is asked for.
//
// A trace is a file of JSON lines. Each line is appended with one write of its own, and starts of the service follow one
// another in one file. Every line has "e", what happened, "seq", which begins at 1 with every start and has no gaps, and "t",
// the time on this machine. LSNs are in PostgreSQL's text form, files are named without their directory.
//
//	{"e":"start","seq":1,"t":"2026-01-02T15:04:05.123456789Z","pid":4711,"version":"v1.2.0"}
//	{"e":"open","seq":5,"t":…,"end":"0/16B3748","file":"0000000000000001.tms","size":8192}
//	{"e":"append","seq":6,"t":…,"end":"0/16B3800","file":"0000000000000001.tms","size":8400}
//	{"e":"sync","seq":7,"t":…,"file":"0000000000000001.tms","size":8400}
//	{"e":"ack","seq":8,"t":…,"flush":"0/16B3800","apply":"0/16B3748"}
//	{"e":"create","seq":9,"t":…,"file":"0000000000000002.tms","size":0}
//	{"e":"syncdir","seq":12,"t":…,"file":"journal","size":0}
//	{"e":"truncate","seq":20,"t":…,"file":"0000000000000002.tms","size":512}
//	{"e":"remove","seq":30,"t":…,"file":"0000000000000001.tms","size":0}
//
// What they say:
//
//	open      the journal was opened: it ends at end, with the frame that ends at size in file. What recovery cut and
//	          fsynced stands before this line
//	append    the last frame of a transaction, or a frontier, was written: end is its end LSN, size is where it ends in file.
//	          It is written after the frame and before anybody can be told of it
//	sync      an fsync of file returned without error; it covers the first size bytes, which were written before it was called
//	syncdir   an fsync of the directory named file returned without error: names created and removed before are durable
//	create    file was created, empty
//	truncate  file is about to be cut to size bytes (or extended)
//	remove    file is about to be unlinked
//	ack       a status update is about to be sent to the source, with these flush and apply positions
//
// What makes bytes durable is written down after it was done, what forgets them before. sync, syncdir, create, truncate
// and remove come from the file system's own calls (package vfs/tracefs), not from what the journal believes. So an
// acknowledgement is justified when an append or open of its flush position, or of a later one, stands before it in
// the trace, followed by a sync of that file with at least its size.
//
// A process that is killed while it writes may leave the beginning of a line. The next start ends that line first; what it
// announced was not done, or not yet relied upon. When a line cannot be written the caller gets the error, now and at every
// later call, and stops: a trace with a hole would lie.
package trace
