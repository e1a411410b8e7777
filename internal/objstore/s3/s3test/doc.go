// Package s3test gives tests a real S3 server: versitygw with its posix back end, started per test on a free loopback
// port, with random keys and a directory that is removed afterwards.
package s3test
