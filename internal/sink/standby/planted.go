package standby

import "tidemark/internal/change"

// wrongPair serves package planted; the compiler leaves it out of the program that ships. It takes pairs of which the
// later one can do no harm that the standby would refuse when it comes first.
func wrongPair(later, earlier change.Row) bool {
	harmless := later.Op == change.Delete || later.Op == change.Update && !later.OldKey
	return harmless && later.Relation == earlier.Relation && later.Relation.Schema != change.Own
}
