package planted

import "iter"

// Swap gives what all gives with the last two that are a pair in the wrong order. It keeps clones until the end.
func Swap[T any](all iter.Seq2[T, error], clone func(T) T, pair func(later, earlier T) bool) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var kept []T
		for v, err := range all {
			if err != nil {
				yield(v, err)
				return
			}
			kept = append(kept, clone(v))
		}
		swapLast(kept, pair)
		for _, v := range kept {
			if !yield(v, nil) {
				return
			}
		}
	}
}

func swapLast[T any](all []T, pair func(later, earlier T) bool) {
	for i := len(all) - 1; i > 0; i-- {
		for j := i - 1; j >= 0; j-- {
			if pair(all[i], all[j]) {
				all[i], all[j] = all[j], all[i]
				return
			}
		}
	}
}
