package segment

import (
	"bytes"
	"testing"
)

// A frontier moves the end and leaves the commit times alone.
func TestFrontier(t *testing.T) {
	var file bytes.Buffer
	w, err := NewWriter(&file, testHeader())
	if err != nil {
		t.Fatal(err)
	}
	after, _ := w.Last()
	for i, f := range []Frame{
		Frontier(after+10, 5000),
		{Kind: Part, First: true, Last: true, Xid: 7, Commit: after + 10, End: after + 20, Time: 3000},
		Frontier(after+30, 9000),
	} {
		if got := f.IsFrontier(); got != (i != 1) {
			t.Errorf("frame %d is a frontier: %v", i, got)
		}
		if err := w.Append(Append{Frame: f}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Append(Append{Frame: Frontier(after+30, 9000)}); err == nil {
		t.Error("a frontier was accepted that does not move the end")
	}
	footer, _, err := w.Seal()
	if err != nil {
		t.Fatal(err)
	}
	if footer.Last != after+30 || footer.MinTime != 3000 || footer.MaxTime != 3000 {
		t.Errorf("footer is %+v", footer)
	}
	r, err := NewReader("test", bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(r); err != nil {
		t.Error(err)
	}
}
