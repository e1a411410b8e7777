// Package file keeps objects as files under a directory.
//
// An object is written to a temporary file beside its place, fsynced, and linked to its name; link(2) fails when the name
// exists, also against another process. Then the directory is fsynced. A crash before the link leaves a file whose name
// begins with objstore.TempPrefix, which no listing shows; a crash between link and fsync leaves the whole object or nothing.
package file
