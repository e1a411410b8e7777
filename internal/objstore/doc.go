// Package objstore is the little that Tidemark needs of an object store. Objects are created once and never changed;
// creation fails when the key exists, which is what fences a second writer out. Back ends are packages of their own
// (objstore/s3, objstore/file), held to one conformance suite (objstore/objstoretest).
package objstore
