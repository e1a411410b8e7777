// Package throwaway starts PostgreSQL servers that live as long as the caller wants them and leave nothing behind: a
// fresh cluster in a directory of its own, on a free loopback port, with a random password. The demo and the tests use
// it. A server is a child of this process and is stopped by its pid; should this process die, the kernel stops it.
// PostgreSQL refuses to run as root: as root, servers run as the user postgres.
package throwaway
