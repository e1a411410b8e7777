// Package planted holds the mistakes that the consistency checker must catch. Each is one that this service could well have, at the
// place where it would be made, behind `if planted.Is(…)`.
//
// Without the build tag `planted`, Is is a constant: the compiler leaves the mistakes out, and a test makes sure that nothing
// of them is in the program that ships. With the tag, the environment variable TIDEMARK_PLANTED chooses one by name,
// for a service and for a command such as restore alike; without the variable the program behaves as the one that ships, and
// says on stderr that it is not.
//
// Code that only serves a mistake stands in the file planted.go of its package, in functions whose names begin with wrong.
//
// The numbers in the comments of the constants are the invariants that each mistake breaks:
//
//	I1  prefix        a copy equals the source after the transaction that it names as its last
//	I2  atomic        no reader sees part of a transaction
//	I3  exactly once  each change has one effect
//	I4  no acknowledgement before it is durable
//	I5  what was acknowledged can be had from the journal alone
//	I6  monotonic     positions do not go back
//	I8  live          after a fault everything catches up
//	I10 values        each value's text is the source's
//	I11 restore       to T is the prefix before the first commit later than T
package planted
