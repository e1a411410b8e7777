package jetstream

import (
	"math"

	"github.com/nats-io/nats.go"

	"tidemark/internal/change"
	"tidemark/internal/event"
	"tidemark/internal/position"
)

// These serve package planted; the compiler leaves them out of the program that ships.

// wrongRetry says what is repeated when a session was lost: everything behind from, the end of the last transaction but
// one that was acknowledged, and up to where the stream really ends without an id.
var wrongRetry struct {
	from position.LSN
	to   position.Position
}

// wrongResume believes that the last transaction's acknowledgement was lost, and does not ask the stream.
func (s *Sink) wrongResume() {
	from := wrongRetry.from
	if from == 0 || s.resume.sequence == 0 || from >= s.resume.last.End {
		return
	}
	wrongRetry.to = s.resume.last
	s.resume.last, s.resume.whole, s.resume.stored = position.Position{End: from, Ordinal: math.MaxUint32}, true, from
}

func wrongHeader(header nats.Header) {
	if p, err := event.ParsePosition(header); err == nil && !wrongRetry.to.Less(p) {
		header.Del(event.HeaderID)
	}
}

// wrongSkipped is the session that has left out its first message.
var wrongSkipped *session

func (s *Sink) wrongSkip() bool {
	if wrongSkipped == s.session || s.resume.sequence == 0 {
		return false
	}
	wrongSkipped = s.session
	return true
}

func wrongPair(a, b change.Row) bool {
	return a.Op != change.Truncate && a.Relation == b.Relation && a.Relation.Schema != change.Own
}
