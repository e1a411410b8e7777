package jetstream

import (
	"math"

	"github.com/nats-io/nats.go"

	"tidemark/internal/change"
	"tidemark/internal/event"
	"tidemark/internal/position"
)

// These serve package planted; the compiler leaves them out of the program that ships.

// wrongRetry says what is repeated when a session was lost: everything behind the transaction that ends at from, and
// up to where the stream really ends without an id.
var wrongRetry struct {
	from position.LSN
	to   position.Position
}

// wrongForget keeps of a session what was acknowledged in it.
func (s *Sink) wrongForget() {
	if s.reached.Stored != 0 {
		wrongRetry.from = s.reached.Stored
	}
}

// wrongResume believes the acknowledgements of the session before in place of the stream.
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

func wrongPair(a, b change.Row) bool {
	return a.Op != change.Truncate && a.Relation == b.Relation && a.Relation.Schema != change.Own
}
