package apply

import (
	"testing"

	"tidemark/internal/change"
)

// TestShapes: nulls outside of what finds a row do not multiply statements.
func TestShapes(t *testing.T) {
	const nullable = 12
	for _, c := range []struct {
		name string
		key  []int
		want int
	}{{"key", []int{0}, 2}, {"all columns", nil, 2 << nullable}} {
		t.Run(c.name, func(t *testing.T) {
			target := &target{rel: &change.Relation{}, columns: make([]column, nullable+1), key: c.key}
			shapes := map[string]bool{}
			for nulls := range 1 << nullable {
				row := change.Row{Op: change.Update, New: make([]change.Value, nullable+1)}
				row.New[0] = change.Value{Kind: change.Text, Data: []byte("1")}
				for i := range nullable {
					row.New[i+1] = change.Value{Kind: change.Text, Data: []byte("x")}
					if nulls>>i&1 == 1 {
						row.New[i+1] = change.Value{Kind: change.Null}
					}
				}
				shapes[string(target.shape(nil, &row, plain))] = true
				row.Old, row.OldKey = row.New, false
				shapes[string(target.shape(nil, &row, plain))] = true
			}
			if len(shapes) != c.want {
				t.Errorf("%d statements for updates of a table with %d columns that may be null, want %d", len(shapes), nullable, c.want)
			}
		})
	}
}
