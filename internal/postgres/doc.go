// Package postgres opens connections the one way we do: with settings that make every value's text canonical whatever
// roles and databases have been given, that keep our own sessions from waiting for ourselves, and that let the kernel find
// a peer that went away without a word. It quotes identifiers and knows server versions.
package postgres
