// Package run is one run of the checker: servers, service, load, faults and checks, from a seed to a verdict.
//
// Begin: servers start behind proxies; the tables are made, empty; the service is initialised, the standby seeded, a first base
// written, the reference slot made. Then the load starts, and until the run ends these go on at once:
//
//   - the reference log follows the primary (test_decoding), and exported snapshots prove it;
//   - the stream is followed and compared transaction by transaction;
//   - the standby is compared in one snapshot, every half second or so;
//   - restores to chosen moments are made and compared;
//   - the trace of the service is compared: no acknowledgement before its fsync;
//   - the service must not end, and none of its copies stop, unless it was told to.
//
// The run alternates trouble (faults) and quiet. In quiet everything is mended and the load stands still; every copy must reach the primary
// and equal it, lag must fall to nothing, the slot must follow. Then the service is stopped or killed, its journal is
// checked offline, two prepared transactions are committed as the very next WAL records, and the service starts again.
//
// The first violation ends the run. A check that could not be made because a server is down is not a violation; quiet has no such excuse.
package run
