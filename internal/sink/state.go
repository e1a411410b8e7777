package sink

import (
	"sync"
	"time"
)

// Phase is what a Runner is doing.
type Phase string

// The phases of a Runner. Opening and waiting alternate while the target cannot be reached; stopped is final until the
// Runner is started again.
const (
	Opening Phase = "opening"
	Running Phase = "running"
	Waiting Phase = "waiting"
	Stopped Phase = "stopped"
	Paused  Phase = "paused"
)

// State is a Runner's condition, for status and readiness.
type State struct {
	Name  string
	Phase Phase
	// Reason is the error behind Waiting and Stopped, empty otherwise. It holds no row values.
	Reason string
	// Since is when the phase began.
	Since time.Time
	// Attempts counts the failures in a row without progress between them.
	Attempts int
}

type stateBox struct {
	mu sync.Mutex
	s  State
}

func (b *stateBox) set(phase Phase, reason string, attempts int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.s.Phase != phase {
		b.s.Since = time.Now()
	}
	b.s.Phase, b.s.Reason, b.s.Attempts = phase, reason, attempts
}

func (b *stateBox) get() State {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.s
}
