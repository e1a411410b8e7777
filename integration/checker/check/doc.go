// Package check compares what the service made of a history with the history itself, as a Timeline knows it.
//
// Each check is black-box: it reads a copy the way a user would, with a decoder of its own. It returns a Violation when an
// invariant does not hold, and any other error when it could not look.
package check
