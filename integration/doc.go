// Package integration tests the real program from outside: its tests start PostgreSQL, NATS and S3 servers, run the tidemark
// binary with a configuration file, and compare what it made with what the primary itself says. It imports no stage:
// what the program promises is checked with code of its own, so that no error can hide in both.
//
//	TIDEMARK_BIN               the program; built from this tree when it is not set
//	TIDEMARK_TEST_PG           PostgreSQL versions, such as "15 17"
//	TIDEMARK_PGBENCH_SECONDS   how long the load runs (10)
//	TIDEMARK_PGBENCH_SCALE     pgbench's scale (2)
//	TIDEMARK_PGBENCH_CLIENTS   pgbench's clients (4)
//	TIDEMARK_KILLS             how often the service is killed (5)
//	TIDEMARK_SEED              seed of everything random; logged when a test begins
//
// Four things tell the truth, none of them from the program: an exported snapshot of the primary at an exact LSN, the primary's
// own state when the load has ended, the standby's own tables, and a consumer that folds the stream back into tables.
package integration
