// Package objstoretest is the conformance suite that every object store back end passes, and a bucket with faults.
package objstoretest
