package standby

import "tidemark/internal/change"

// wrongPair serves package planted; the compiler leaves it out of the program that ships.
func wrongPair(a, b change.Row) bool {
	return a.Op != change.Truncate && a.Relation == b.Relation && a.Relation.Schema != change.Own
}
