// Package archive is what is in the bucket: names, journal and index objects, bases and their manifests; listing,
// reading and verifying them. The journal objects hold the same frames as a journal segment (package segment).
package archive
