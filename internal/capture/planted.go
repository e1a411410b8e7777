package capture

import (
	"tidemark/internal/position"
	"tidemark/internal/progress"
	"tidemark/internal/segment"
)

// These serve package planted; the compiler leaves them out of the program that ships.

// wrongBefore is the assembler of the connection before, and wrongKept what that one knew of relations.
var (
	wrongBefore *assembler
	wrongKept   map[uint32]*segment.Define
)

// wrongInherit takes over what the connection before left of an open transaction, and lets its definitions win.
func (a *assembler) wrongInherit() {
	if b := wrongBefore; b != nil {
		wrongKept = b.relations.defines
		if b.open {
			a.count, a.payload, a.meta, a.defines, a.index = b.count, b.payload, b.meta, b.defines, b.index
		}
	}
	wrongBefore = a
}

// wrongKeep uses the definition of the connection before.
func (r *relations) wrongKeep(id uint32) bool {
	d, ok := wrongKept[id]
	if ok {
		r.defines[id] = d
	}
	return ok
}

// wrongKeepalive acknowledges a keepalive's position while something below it is not durable.
func (s *session) wrongKeepalive(walEnd position.LSN) {
	journal, _ := s.c.cfg.Board.Get(progress.Journal)
	s.c.mu.Lock()
	coming := s.assembler.open || journal.Stored < s.c.state.appended
	s.c.mu.Unlock()
	if coming {
		s.c.setReported(report{walEnd, 0})
		signal(s.feedback.poke)
	}
}
