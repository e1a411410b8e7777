// Package nemesis breaks things: a seeded schedule of faults, each begun, held for a while and mended.
//
// At most one fault is in force for a target (the service, a server, a hop), and at most three in all: what is
// broken everywhere at once proves little. The choice of faults, pauses and lengths comes from the seed alone, except that a target
// that is still being mended is passed over.
package nemesis
