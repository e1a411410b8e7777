package apply

import (
	"slices"

	"tidemark/internal/change"
)

// These serve package planted; the compiler leaves them out of the program that ships.

// wrongToast makes unchanged values NULL.
func wrongToast(row *change.Row) {
	for i := range row.New {
		if row.New[i].Kind == change.Unchanged {
			row.New[i] = change.Value{Kind: change.Null}
		}
	}
}

// wrongKey forgets the old key of an update, and says whether it did. A TOASTed key is left: nothing could find it.
func wrongKey(row *change.Row) bool {
	unchanged := func(v change.Value) bool { return v.Kind == change.Unchanged }
	if row.Op != change.Update || !row.OldKey || slices.ContainsFunc(row.New, unchanged) {
		return false
	}
	row.Old, row.OldKey = nil, false
	return true
}
