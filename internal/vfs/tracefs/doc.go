// Package tracefs is a vfs.FS that tells what is done to files and what became durable. It tells what the file system
// itself was asked and answered: a caller that forgets an fsync shows.
package tracefs
