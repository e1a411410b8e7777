// Package postgres opens connections the one way we do: with settings that make every value's text canonical whatever
// roles and databases have been given, and that keep our own sessions from waiting for ourselves. It quotes
// identifiers and knows server versions.
package postgres
