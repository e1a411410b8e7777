package pgoutput

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"

	"tidemark/internal/change"
	"tidemark/internal/position"
)

// parse reads a message of any kind in full.
func parse(msg []byte) (any, error) {
	if len(msg) == 0 {
		return nil, errShort
	}
	switch msg[0] {
	case KindBegin:
		return ParseBegin(msg)
	case KindCommit:
		return ParseCommit(msg)
	case KindOrigin:
		return parseOrigin(msg)
	case KindType:
		return parseType(msg)
	case KindRelation:
		return parseRelation(msg, nil)
	case KindTruncate:
		options, ids, err := parseTruncate(msg, nil)
		return truncateMessage{options, ids}, err
	}
	return parseRow(msg, nil, nil)
}

type truncateMessage struct {
	options byte
	ids     []uint32
}

// theirs is pglogrepl's parser with its panics as errors.
func theirs(msg []byte) (m pglogrepl.Message, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return pglogrepl.Parse(msg)
}

// agree compares our reading of a message with pglogrepl's. Where both give one, they are the same. Where only pglogrepl
// gives one, ours refuses for a reason that pglogrepl does not check; where only ours does, it is a tuple of no columns.
func agree(t *testing.T, msg []byte) {
	t.Helper()
	our, ourErr := parse(msg)
	if len(msg) > 5 && msg[0] == KindTruncate && binary.BigEndian.Uint32(msg[1:]) > 1000 {
		return // pglogrepl allocates whatever number a truncate claims
	}
	if ourErr != nil && !errors.Is(ourErr, ErrMalformed) {
		t.Fatalf("error %v is not ErrMalformed", ourErr)
	}
	their, theirErr := theirs(msg)
	switch {
	case ourErr != nil && theirErr != nil:
	case ourErr != nil:
		if !stricter(ourErr) && their.Type() != pglogrepl.MessageTypeMessage {
			t.Fatalf("pglogrepl reads a %s, and ours says %v", their.Type(), ourErr)
		}
	case theirErr != nil:
		if msg[0] != KindInsert || len(msg) != 8 || msg[6]|msg[7] != 0 {
			t.Fatalf("ours reads %+v, and pglogrepl says %v", our, theirErr)
		}
	default:
		same(t, our, their)
	}
}

func stricter(err error) bool {
	return slices.ContainsFunc([]error{errTrailing, errTuple, errValueKind, errFlags, errIdentity, errColumns, errNoRelation},
		func(reason error) bool { return errors.Is(err, reason) })
}

func same(t *testing.T, our any, their pglogrepl.Message) {
	t.Helper()
	equal := false
	switch m := their.(type) {
	case *pglogrepl.BeginMessage:
		o := our.(Begin)
		equal = o.Commit == position.LSN(m.FinalLSN) && sameTime(o.Time, m.CommitTime) && o.Xid == m.Xid
	case *pglogrepl.CommitMessage:
		o := our.(Commit)
		equal = o.Commit == position.LSN(m.CommitLSN) && o.End == position.LSN(m.TransactionEndLSN) && sameTime(o.Time, m.CommitTime)
	case *pglogrepl.OriginMessage:
		equal = our == any(origin{commit: position.LSN(m.CommitLSN), name: m.Name})
	case *pglogrepl.TypeMessage:
		equal = our == any(userType{oid: m.DataType, schema: cmp.Or(m.Namespace, "pg_catalog"), name: m.Name})
	case *pglogrepl.RelationMessage:
		equal = sameRelation(our.(*change.Relation), m)
	case *pglogrepl.TruncateMessage:
		o := our.(truncateMessage)
		equal = o.options == m.Option && slices.Equal(o.ids, m.RelationIDs)
	case *pglogrepl.InsertMessage:
		equal = sameRow(our.(rowMessage), change.Insert, m.RelationID, 0, nil, m.Tuple)
	case *pglogrepl.UpdateMessage:
		equal = sameRow(our.(rowMessage), change.Update, m.RelationID, m.OldTupleType, m.OldTuple, m.NewTuple)
	case *pglogrepl.DeleteMessage:
		equal = sameRow(our.(rowMessage), change.Delete, m.RelationID, m.OldTupleType, m.OldTuple, nil)
	}
	if !equal {
		t.Fatalf("ours reads\n%+v\nand pglogrepl\n%+v", our, their)
	}
}

// sameTime compares in nanoseconds: pglogrepl counts in them, and overflows behind the year 2262, which ours does not.
func sameTime(o position.Time, m time.Time) bool {
	return o.Time().UnixMicro()*1000 == m.UnixNano()
}

func sameRelation(o *change.Relation, m *pglogrepl.RelationMessage) bool {
	return o.ID == m.RelationID && o.Schema == cmp.Or(m.Namespace, "pg_catalog") && o.Name == m.RelationName &&
		o.Identity == change.Identity(m.ReplicaIdentity) &&
		slices.EqualFunc(o.Columns, m.Columns, func(a change.Column, b *pglogrepl.RelationMessageColumn) bool {
			return a.Name == b.Name && a.Key == (b.Flags&1 == 1) && a.Type == b.DataType && a.TypeMod == b.TypeModifier
		})
}

func sameRow(o rowMessage, op change.Op, relation uint32, mark byte, old, new *pglogrepl.TupleData) bool {
	return o.op == op && o.relation == relation && o.oldMark == mark && sameTuple(o.old, old) && sameTuple(o.new, new)
}

func sameTuple(o []change.Value, m *pglogrepl.TupleData) bool {
	if m == nil {
		return len(o) == 0
	}
	return slices.EqualFunc(o, m.Columns, func(a change.Value, b *pglogrepl.TupleDataColumn) bool {
		return byte(a.Kind) == b.DataType && bytes.Equal(a.Data, b.Data)
	})
}

func TestAgreesWithPglogrepl(t *testing.T) {
	parsed := 0
	for _, msg := range corpus(t) {
		if _, err := parse(msg); err != nil {
			t.Errorf("a server's %c message: %v", msg[0], err)
		}
		if _, err := theirs(msg); err == nil {
			parsed++
		}
		agree(t, msg)
	}
	if parsed < 100 {
		t.Errorf("pglogrepl parses only %d messages of the corpus", parsed)
	}
}
