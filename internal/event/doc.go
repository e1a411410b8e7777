// Package event turns changes into what subscribers receive: subject, headers and a JSON document per row change, and
// one document for each transaction's end. docs/nats.md describes every field for subscribers; its examples are made by
// this package's tests. The package does no I/O and knows no message broker.
//
// Order is the caller's: Begin, then every row of the transaction in ordinal order, encoded or skipped, then Commit. A
// message's position (end LSN and ordinal) is its identity. The end marker takes the ordinal behind the last row, so
// that identities are unique and the last message of a stream says how far the stream has come.
//
// Nothing is bent to fit JSON. A value is written in a form from which the source's own text can be had again (the JSON
// types keep their text to the letter), or the row is refused with ErrUnencodable: invalid UTF-8, which JSON cannot hold, and
// values in binary form. Errors name relation and column, never the value.
package event
