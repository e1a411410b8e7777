// Package vfstest is the conformance suite of vfs.FS: every implementation passes it.
package vfstest
