// Package s3 keeps objects in an S3 bucket, or in a store that speaks its protocol.
//
// Create is one PutObject with If-None-Match: *. The store answers 412 when the key exists, which may be the work of an
// earlier try whose reply was lost (the SDK retries by itself): the caller compares. 409 says that two conditional writes met;
// it is tried again here (https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html).
//
// Checksums: AWS gets a CRC-32 header with every object. Other stores get none at first, since several refuse it; a store
// that asks for one (a bucket with Object Lock) gets it from then on. The header is sent, never a trailer with chunked encoding.
//
// Time limits: connecting, the TLS handshake and the wait for a reply's header have one each, an upload one by its size,
// and a download one for each stretch without a byte. What they do not cover is the caller's context.
package s3
