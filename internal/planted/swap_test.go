package planted_test

import (
	"errors"
	"iter"
	"slices"
	"testing"

	"tidemark/internal/planted"
)

func TestSwap(t *testing.T) {
	broken := errors.New("broken")
	seq := func(text string, err error) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			for _, c := range text {
				if !yield(string(c), nil) {
					return
				}
			}
			if err != nil {
				yield("", err)
			}
		}
	}
	for in, want := range map[string]string{"": "", "a": "a", "ab": "ab", "aa": "aa", "aBA": "ABa", "xaBcA": "xABca", "abc": "abc"} {
		clones := 0
		var got []string
		for s, err := range planted.Swap(seq(in, nil), func(s string) string { clones++; return s }, func(a, b string) bool { return a[0]|32 == b[0]|32 }) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, s)
		}
		var text string
		for _, s := range got {
			text += s
		}
		if text != want || clones != len(in) {
			t.Errorf("%q gives %q, want %q; %d clones", in, text, want, clones)
		}
	}
	var errs []error
	for _, err := range planted.Swap(seq("ab", broken), func(s string) string { return s }, func(string, string) bool { return false }) {
		errs = append(errs, err)
	}
	if !slices.Equal(errs, []error{broken}) {
		t.Errorf("errors %v", errs)
	}
}
