package workload

import (
	"math/rand/v2"
	"strconv"
)

// The shapes whose operations are the same for all. Those that need operations of their own are at their operations.
var (
	plain     = &shape{table: "public.plain", keys: 1, columns: []column{{name: "id"}, {name: "n", gen: either(5, integers)}, {name: "v", gen: either(5, text)}}}
	upper     = &shape{table: `public."Plain"`, keys: 1, columns: []column{{name: "id"}, {name: `"V"`, gen: either(5, text)}, {name: "v", gen: either(5, text)}}}
	composite = &shape{table: "public.composite", keys: 2, key: compositeKey,
		columns: []column{{name: "c"}, {name: "a"}, {name: "v", gen: either(3, text)}, {name: "b", gen: either(3, integers)}, {name: "d", gen: text}}}
	byIndex = &shape{table: "public.by_index", keys: 1, columns: []column{{name: "id"}, {name: "v", gen: either(3, text)}, {name: "n", gen: integers}, {name: "code", gen: distinct}}}
	bag     = &shape{table: "public.bag", columns: []column{{name: "a", gen: either(3, number(1, 4))}, {name: "b", gen: either(3, pool("", "x", "NULL", "'", " "))},
		{name: "c", gen: either(3, pool("1", "1.0", "1.00", "NaN"))}, {name: "f", gen: either(3, pool("0", "-0", "NaN", "1"))}}}
	toast = &shape{table: "public.toast", keys: 1, columns: []column{{name: "id"}, {name: "n", gen: integers}, {name: "a", gen: either(4, long), heavy: true},
		{name: "b", gen: either(4, long), heavy: true}, {name: "c", gen: either(3, longBytes), heavy: true}, {name: "d", gen: text}}}
	toastKeyed = &shape{table: `"Odd.Schema".toast_key`, keys: 1, key: func(id int) []string { return []string{toastKey(id)} },
		columns: []column{{name: "k"}, {name: "n", gen: integers}, {name: "v", gen: either(3, long), heavy: true}}}
	toastFull = &shape{table: "public.toast_full", columns: []column{{name: "id", gen: number(1, 9)}, {name: "a", gen: either(4, long), heavy: true},
		{name: "b", gen: either(4, long), heavy: true}, {name: "n", gen: either(4, integers)}}}
	events    = &shape{table: "public.events", keys: 1, columns: []column{{name: "k"}, {name: "n", gen: integers}, {name: "v", gen: either(4, text)}}}
	byList    = &shape{table: `"Odd.Schema"."By List"`, keys: 2, key: byListKey, columns: []column{{name: "region"}, {name: "id"}, {name: "v", gen: either(4, text)}}}
	root      = &shape{table: "public.tree_root", keys: 1, columns: []column{{name: "id"}, {name: "v", gen: text}}}
	branch    = &shape{table: "public.tree_branch", keys: 1, columns: []column{{name: "id"}, {name: "root_id", gen: either(9, hotID)}, {name: "v", gen: text}}}
	leaf      = &shape{table: "public.tree_leaf", keys: 1, columns: []column{{name: "id"}, {name: "branch_id", gen: either(9, hotID)}, {name: "v", gen: text}}}
	seats     = &shape{table: "public.seats", keys: 1, columns: []column{{name: "id"}, {name: "seat", gen: number(1, 100000)}, {name: "v", gen: text}}}
	always    = &shape{table: "public.always", columns: []column{{name: "n", gen: integers}, {name: "v", gen: either(4, text)}}}
	computed  = &shape{table: "public.computed", keys: 1, columns: []column{{name: "id"}, {name: "a", gen: either(4, integers)}, {name: "b", gen: either(4, text)}}}
	insertion = &shape{table: "public.insert_only", columns: []column{{name: "v", gen: either(3, text)}}}
	nothing   = &shape{table: "public.nothing"}
	odd       = &shape{table: `"Odd.Schema"."It's a ""table"", ü.😀 > *"`, keys: 1, columns: []column{{name: `"Id"`}, {name: `"select"`, gen: either(3, text)}, {name: `"a.b"`, gen: text},
		{name: `"quo""te'"`, gen: either(3, text)}, {name: `"ünï😀"`, gen: text}, {name: `" space "`, gen: integers}}}
	longName = &shape{table: `"Odd.Schema".a_name_of_sixty_three_bytes_is_the_longest_that_there_can_be___`, keys: 1,
		columns: []column{{name: "id"}, {name: "a_name_of_sixty_three_bytes_is_the_longest_that_there_can_be___", gen: either(3, text)}}}
	switching = &shape{table: "public.identity_switch", keys: 1, columns: []column{{name: "id"}, {name: "v", gen: either(3, text)}, {name: "n", gen: either(3, integers)}}}
	types     = &shape{table: "public.types", keys: 1, columns: typesColumns()}
	wide      = &shape{table: "public.wide", keys: 1, columns: wideColumns()}
)

var (
	keyed      = []*shape{plain, upper, composite, byIndex, toast, toastKeyed, events, byList, root, branch, leaf, seats, computed, odd, longName, switching, types, types, wide}
	unkeyed    = []*shape{bag, bag, toastFull, always}
	changeable = append(append([]*shape{}, keyed...), unkeyed...)
	insertable = append(append([]*shape{}, changeable...), insertion, nothing)
)

func hotID(r *rand.Rand) value { return of(strconv.Itoa(hot(r))) }

func compositeKey(id int) []string {
	n := max(id, -id)
	return []string{strconv.Itoa(id % 7), pieces[n%len(pieces)] + strconv.Itoa(n/7)}
}

// byListKey: ids 1 to 200 are spread over all leaves, also those of the leaf that is partitioned itself.
func byListKey(id int) []string {
	n := max(id, -id)
	return []string{[]string{"eu", "us", "uk", "nowhere", ""}[n%5], strconv.Itoa(id)}
}

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

// ids chooses n different hot ids, fewer where they come twice.
func ids(r *rand.Rand, n int) []int {
	var out []int
	seen := map[int]bool{}
	for range n {
		if id := hot(r); !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
	}
	return out
}
