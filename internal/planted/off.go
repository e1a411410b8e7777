//go:build !planted

package planted

// Is reports whether a mistake is active: never.
func Is(Bug) bool { return false }

// Every reports, of an active mistake, every nth time that it is asked: never.
func Every(Bug, uint64) bool { return false }

// Notice says what must be said of a program that carries mistakes: nothing.
func Notice() (string, error) { return "", nil }
