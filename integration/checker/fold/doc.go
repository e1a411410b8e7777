// Package fold says what every table holds after every commit, from row changes alone and without I/O.
//
// A State folds transactions into rows. For each table it keeps a Sum: how many rows there are, and the sum of the rows'
// hashes, so that a change costs one subtraction and one addition and the order of rows does not matter. A Timeline keeps the
// sums of the touched tables after each transaction, and so knows every table's sum at every end LSN.
//
// The text that is hashed is, for each column that is not generated, "-" for NULL, otherwise "‹octets›:‹text›", where text is what the
// type's output function gives under canonical settings. PostgreSQL computes the same in SQL (package oracle).
//
// Both the reference log (what test_decoding says) and the stream (what a subscriber reads) are folded by the same
// State; neither decoder is the service's.
package fold
