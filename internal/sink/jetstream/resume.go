package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"tidemark/internal/event"
	"tidemark/internal/position"
	"tidemark/internal/sink"
)

// resume is where a stream ends.
type resume struct {
	sequence uint64 // of the last message, 0 for an empty stream
	id       string // of the last message
	// last is the position of the last message; whole says that it is a commit marker.
	last  position.Position
	whole bool
	// stored is the end of the last whole transaction, and marker the sequence of its commit marker; 0 for none.
	stored position.LSN
	marker uint64
}

// findEnd reads what the stream holds. An error that retrying cannot mend: the last message is not ours, or the stream was
// emptied, and our position with it.
func findEnd(ctx context.Context, stream jetstream.Stream, n names) (resume, error) {
	info, err := stream.Info(ctx)
	if err != nil {
		return resume{}, fmt.Errorf("read stream's state: %w", err)
	}
	name, last := info.Config.Name, info.State.LastSeq
	if info.State.Msgs == 0 && last == 0 {
		return resume{}, nil
	}
	if info.State.Msgs == 0 {
		return resume{}, sink.Permanent(fmt.Errorf("stream %s was emptied behind message %d, and the sink's position with it: "+
			"delete the stream, then everything the journal holds is published anew", name, last))
	}
	msg, err := stream.GetMsg(ctx, last)
	if err != nil {
		return resume{}, fmt.Errorf("read message %d, the last of stream %s (deleted by hand, or a replica lags behind): %w", last, name, err)
	}
	r := resume{sequence: last, id: msg.Header.Get(event.HeaderID)}
	if r.last, r.whole, err = n.ours(msg); err != nil {
		return resume{}, sink.Permanent(fmt.Errorf("stream %s has another publisher: message %d, its last, %w", name, last, err))
	}
	if r.whole {
		r.stored, r.marker = r.last.End, last
		return r, nil
	}
	return r.behindMarker(ctx, stream, n)
}

// behindMarker completes r for a stream that ends within a transaction.
func (r resume) behindMarker(ctx context.Context, stream jetstream.Stream, n names) (resume, error) {
	msg, err := stream.GetLastMsgForSubject(ctx, n.commit)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return r, nil
	}
	if err != nil {
		return resume{}, fmt.Errorf("read the last commit marker: %w", err)
	}
	if msg.Sequence > r.sequence {
		return resume{}, fmt.Errorf("read the stream's end: %w: messages of a lost connection still arrive", errSequence)
	}
	p, whole, err := n.ours(msg)
	if err != nil || !whole {
		return resume{}, sink.Permanent(fmt.Errorf("stream has another publisher: message %d, its last commit marker, %w", msg.Sequence, err))
	}
	r.stored, r.marker = p.End, msg.Sequence
	return r, nil
}

// names are what tells our messages from others'.
type names struct {
	source event.Source
	commit string // subject of commit markers
	tree   string // what all our subjects begin with
}

func namesOf(cfg Config, source event.Source) names {
	commit := event.CommitSubject(cfg.SubjectPrefix, source.Database)
	return names{source: source, commit: commit, tree: commit[:strings.LastIndexByte(commit, '.')+1]}
}

// ours reads a message's position. The error completes a sentence about the message, and holds no row value.
func (n names) ours(m *jetstream.RawStreamMsg) (p position.Position, whole bool, err error) {
	p, err = event.ParsePosition(m.Header)
	if err != nil {
		return p, false, errors.New("does not carry our position header")
	}
	system, id, err := event.ParseID(m.Header.Get(event.HeaderID))
	switch {
	case err != nil || id != p:
		return p, false, errors.New("does not carry our message id")
	case system != n.source.SystemID:
		return p, false, fmt.Errorf("comes from system %s and the source is %s", system, n.source.SystemID)
	case !strings.HasPrefix(m.Subject, n.tree):
		return p, false, fmt.Errorf("has a subject that does not begin with %s", n.tree)
	}
	return p, m.Subject == n.commit, nil
}
