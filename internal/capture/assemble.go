package capture

import (
	"fmt"
	"math"

	"tidemark/internal/pgoutput"
	"tidemark/internal/planted"
	"tidemark/internal/position"
	"tidemark/internal/segment"
)

const (
	maxRelations = 1000
	// keepPayload is the largest payload buffer that is kept for the next part: one huge row must not hold its memory.
	keepPayload = 8 << 20
)

// outcome is what one message of the stream came to.
type outcome struct {
	// done is set by a commit. End is the transaction's end LSN.
	done  bool
	end   position.LSN
	empty bool // it had no row: nothing was handed over
}

// assembler builds parts from the messages of one connection. An error of it that hand did not return is a breach of the
// protocol.
type assembler struct {
	relations *relations
	// after is the end LSN of the last transaction. The next commit record begins there or later.
	after     position.LSN
	partBytes int
	// hand takes a part. Its slices are reused afterwards.
	hand func(segment.Append) error
	// received is told of a commit before its last part is handed over.
	received func(end position.LSN, commit position.Time)

	open   bool
	begin  pgoutput.Begin
	handed bool     // at least one part of the open transaction was handed over
	rows   counters // of the open transaction

	number, ordinal uint32
	count           uint32
	payload         []byte
	meta            []segment.Rows
	defines         []segment.Define // parallel to meta
	index           map[uint32]int   // relation id to place in meta
	last            *segment.Rows    // meta of the relation used last, nil when it must be looked up again
	ids             []uint32
}

func newAssembler(after position.LSN, partBytes int, hand func(segment.Append) error, received func(position.LSN, position.Time)) *assembler {
	return &assembler{relations: newRelations(), after: after, partBytes: partBytes, hand: hand, received: received, index: map[uint32]int{}}
}

// message takes one pgoutput message. It does not keep it.
func (a *assembler) message(msg []byte) (outcome, error) {
	if len(msg) == 0 {
		return outcome{}, fmt.Errorf("empty message")
	}
	switch msg[0] {
	case pgoutput.KindInsert, pgoutput.KindUpdate, pgoutput.KindDelete:
		return outcome{}, a.row(msg)
	case pgoutput.KindBegin:
		return outcome{}, a.start(msg)
	case pgoutput.KindCommit:
		return a.commit(msg)
	case pgoutput.KindRelation:
		a.last = nil
		return outcome{}, a.relations.add(msg)
	case pgoutput.KindType:
		return outcome{}, a.relations.addType(msg)
	case pgoutput.KindTruncate:
		return outcome{}, a.truncate(msg)
	case pgoutput.KindOrigin:
		return outcome{}, a.origin(msg)
	case 'b', 'P', 'K', 'r', 'p':
		return outcome{}, fmt.Errorf("message %q of a prepared transaction: the slot has two_phase set, which this version does not read", msg[0])
	case 'A':
		// Some servers announce the end of transactions that they never streamed to us: nothing to undo.
		return outcome{}, nil
	}
	return outcome{}, fmt.Errorf("message of unknown kind %q", msg[0])
}

func (a *assembler) start(msg []byte) error {
	if a.open {
		return fmt.Errorf("begin within the transaction that commits at %s", a.begin.Commit)
	}
	b, err := pgoutput.ParseBegin(msg)
	if err != nil {
		return err
	}
	if b.Commit < a.after {
		return fmt.Errorf("transaction that commits at %s was received already: the last one ended at %s", b.Commit, a.after)
	}
	if !planted.Is(planted.DiscardForgotten) {
		a.reset()
	}
	a.begin, a.open, a.handed, a.number, a.ordinal, a.rows = b, true, false, 0, 0, counters{}
	return nil
}

func (a *assembler) commit(msg []byte) (outcome, error) {
	c, err := pgoutput.ParseCommit(msg)
	if err != nil {
		return outcome{}, err
	}
	if !a.open || c.Commit != a.begin.Commit || c.End <= c.Commit {
		return outcome{}, fmt.Errorf("commit at %s with end %s does not belong to the open transaction (open %v, begin says %s)", c.Commit, c.End, a.open, a.begin.Commit)
	}
	if a.count == 0 && a.number == 0 {
		a.open, a.after = false, c.End
		a.reset() // an origin message may stand alone
		return outcome{done: true, end: c.End, empty: true}, nil
	}
	if planted.Is(planted.SkipCommitAtWatermark) && c.Commit <= a.after && a.number == 0 {
		a.open, a.after = false, c.End
		a.reset()
		return outcome{done: true, end: c.End, empty: true}, nil
	}
	end := c.End
	if planted.Is(planted.AckCommitLSN) {
		end = c.Commit
	}
	a.received(end, a.begin.Time)
	if err := a.flush(true, c.End); err != nil {
		return outcome{}, err
	}
	a.open, a.after = false, c.End
	return outcome{done: true, end: c.End}, nil
}

func (a *assembler) row(msg []byte) error {
	id, err := pgoutput.RowRelation(msg)
	if err != nil {
		return err
	}
	if err := a.room(len(msg), 1); err != nil {
		return err
	}
	rows, err := a.use(id)
	if err != nil {
		return err
	}
	switch msg[0] {
	case pgoutput.KindInsert:
		rows.Inserts++
	case pgoutput.KindUpdate:
		rows.Updates++
	default:
		rows.Deletes++
	}
	a.payload = segment.AppendMessage(a.payload, msg)
	a.count++
	return nil
}

func (a *assembler) truncate(msg []byte) error {
	var err error
	if a.ids, err = pgoutput.TruncateRelations(msg, a.ids[:0]); err != nil {
		return err
	}
	// All relations of the message must stand in one part, as they are defined now.
	mustFlush := len(a.meta) > 0 && len(a.meta)+len(a.ids) > maxRelations
	for _, id := range a.ids {
		redefined, err := a.redefined(id)
		if err != nil {
			return err
		}
		mustFlush = mustFlush || redefined
	}
	if mustFlush && a.count > 0 {
		if err := a.flush(false, 0); err != nil {
			return err
		}
	}
	if err := a.room(len(msg), len(a.ids)); err != nil {
		return err
	}
	for _, id := range a.ids {
		rows, err := a.use(id)
		if err != nil {
			return err
		}
		rows.Truncates++
	}
	a.payload = segment.AppendMessage(a.payload, msg)
	a.count += uint32(len(a.ids))
	return nil
}

func (a *assembler) origin(msg []byte) error {
	if !a.open {
		return fmt.Errorf("origin message outside a transaction")
	}
	a.payload = segment.AppendMessage(a.payload, msg)
	return nil
}

// room hands the part over when the next message does not fit any more. Because that happens only when a message
// follows, the last part of a transaction is never empty.
func (a *assembler) room(size, changes int) error {
	if !a.open {
		return fmt.Errorf("row outside a transaction")
	}
	if uint64(a.ordinal)+uint64(a.count)+uint64(changes) > math.MaxUint32 {
		return fmt.Errorf("a transaction of more than %d changes", uint32(math.MaxUint32))
	}
	if a.count > 0 && (len(a.payload)+size > a.partBytes || len(a.meta) >= maxRelations) {
		return a.flush(false, 0)
	}
	return nil
}

// redefined reports whether the part already uses the relation under another definition.
func (a *assembler) redefined(id uint32) (bool, error) {
	d, err := a.relations.get(id)
	if err != nil {
		return false, err
	}
	i, used := a.index[id]
	return used && a.defines[i].Fingerprint != d.Fingerprint, nil
}

// use gives the counts of a relation in the current part, in which it enters the relation's definition at its first use.
func (a *assembler) use(id uint32) (*segment.Rows, error) {
	if a.last != nil && a.last.Relation == id {
		return a.last, nil
	}
	d, err := a.relations.get(id)
	if err != nil {
		return nil, err
	}
	i, used := a.index[id]
	if used && a.defines[i].Fingerprint != d.Fingerprint {
		if err := a.flush(false, 0); err != nil {
			return nil, err
		}
		used = false
	}
	if !used {
		i = len(a.meta)
		a.meta = append(a.meta, segment.Rows{Relation: id})
		a.defines = append(a.defines, *d)
		a.index[id] = i
	}
	a.last = &a.meta[i]
	return a.last, nil
}

func (a *assembler) flush(last bool, end position.LSN) error {
	part := segment.Append{Defines: a.defines, Frame: segment.Frame{
		Kind: segment.Part, First: a.number == 0, Last: last, Xid: a.begin.Xid, Number: a.number, Ordinal: a.ordinal,
		Count: a.count, Commit: a.begin.Commit, End: end, Time: a.begin.Time, Meta: a.meta, Payload: a.payload,
	}}
	a.handed = true
	if err := a.hand(part); err != nil {
		return handError{err}
	}
	a.rows.add(a.meta)
	a.number++
	a.ordinal += a.count
	a.reset()
	return nil
}

// reset begins an empty part.
func (a *assembler) reset() {
	a.count, a.last = 0, nil
	a.payload, a.meta, a.defines = a.payload[:0], a.meta[:0], a.defines[:0]
	if cap(a.payload) > keepPayload {
		a.payload = nil
	}
	clear(a.index)
}

// handError tells an error of hand from a breach of the protocol.
type handError struct{ error }

func (e handError) Unwrap() error { return e.error }
