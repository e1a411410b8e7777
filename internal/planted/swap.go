package planted

import "iter"

// Swap gives what all gives with the last two that are alike in the wrong order. It keeps clones until the end.
func Swap[T any](all iter.Seq2[T, error], clone func(T) T, alike func(a, b T) bool) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var kept []T
		for v, err := range all {
			if err != nil {
				yield(v, err)
				return
			}
			kept = append(kept, clone(v))
		}
		swapLast(kept, alike)
		for _, v := range kept {
			if !yield(v, nil) {
				return
			}
		}
	}
}

func swapLast[T any](all []T, alike func(a, b T) bool) {
	for i := len(all) - 1; i > 0; i-- {
		for j := i - 1; j >= 0; j-- {
			if alike(all[i], all[j]) {
				all[i], all[j] = all[j], all[i]
				return
			}
		}
	}
}
