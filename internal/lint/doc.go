// Package lint holds the rules of this source tree that no linter knows, as tests: which package may import which, how
// large things may get, what must be documented, which words are not used. A rule is a function from the parsed tree to
// findings; each is proven by a fixture that it must refuse and one that it must accept. Generated code is not judged.
package lint
