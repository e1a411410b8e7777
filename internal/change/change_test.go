package change

import "testing"

func TestClone(t *testing.T) {
	data := []byte("ab")
	row := Row{Op: Update, Old: []Value{}, New: []Value{{Kind: Text, Data: data[:0]}, {Kind: Null}, {Kind: Text, Data: data}}}
	got := row.Clone()
	if got.Old == nil || got.New[0].Data == nil || got.New[1].Data != nil {
		t.Errorf("clone loses the difference between empty and none: %#v", got)
	}
	data[0] = 'x'
	if string(got.New[2].Data) != "ab" {
		t.Errorf("clone shares memory with its row")
	}
	if got := (Row{Op: Insert}).Clone(); got.Old != nil || got.New != nil {
		t.Errorf("clone of no tuples is %#v", got)
	}
}
