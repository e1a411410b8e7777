// Package pgoutput reads the messages of PostgreSQL's logical replication protocol, version 1, as the output plugin
// pgoutput sends them (https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html). It is pure:
// bytes in, values out.
//
// Two users need two depths. Capture follows transactions and relations and hands row messages on unread: for it there
// are functions that look only at a message's head and allocate nothing. Sinks and restore need rows: for them there is
// the Decoder, which learns relations from definition frames and gives the rows of part frames.
//
// Every read is checked against the message's end, and a message must end where its last field ends. What PostgreSQL's
// own apply worker refuses is refused here too (unknown value kinds, commit flags); what it ignores is ignored (unknown
// column flags and truncate options). A message that does not parse is never skipped: the caller gets an error, which
// names the kind of the message, the relation and the ordinal, and never a value.
//
// Facts of the protocol that shape this package:
//
//   - An old tuple marked K holds the replica identity's columns only; the others are sent as null and do not mean NULL.
//     An old tuple marked O (replica identity FULL) is complete.
//   - A value of kind "unchanged" in a new tuple is a TOAST value that the update did not touch. Its content is in the old
//     tuple under FULL, or when it belongs to the key, and otherwise not in the message.
//   - Relation and Type messages call the schema pg_catalog "".
//   - A Type message precedes the Relation message whose columns use the type. For a domain its OID is the domain's, but
//     its name is the base type's.
//   - One Truncate message lists all relations that one statement truncated. Each counts as one change.
//   - A row of a table without columns is a tuple of zero values.
package pgoutput
