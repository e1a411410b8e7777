package capture

import (
	"bytes"
	"fmt"

	"tidemark/internal/pgoutput"
	"tidemark/internal/planted"
	"tidemark/internal/segment"
)

// relations holds the definitions that one connection sent. The source sends each again on a new connection, before its
// first use; what an old one said must not be trusted, because names and OIDs may have changed meanwhile.
type relations struct {
	types   map[uint32][]byte          // type messages by OID
	defines map[uint32]*segment.Define // never changed once made: parts keep them
	oids    []uint32
}

func newRelations() *relations {
	return &relations{types: map[uint32][]byte{}, defines: map[uint32]*segment.Define{}}
}

func (r *relations) addType(msg []byte) error {
	oid, err := pgoutput.TypeHead(msg)
	if err != nil {
		return err
	}
	r.types[oid] = bytes.Clone(msg)
	return nil
}

// add takes a relation message. Its definition is the type messages of its columns, each once, in column order, and
// itself: the same bytes on every connection, as long as nothing changed.
func (r *relations) add(msg []byte) error {
	id, err := pgoutput.RelationHead(msg)
	if err != nil {
		return err
	}
	if planted.Is(planted.RelationKept) && r.wrongKeep(id) {
		return nil
	}
	if r.oids, err = pgoutput.RelationTypes(msg, r.oids[:0]); err != nil {
		return err
	}
	var payload []byte
	seen := map[uint32]bool{}
	for _, oid := range r.oids {
		if t, ok := r.types[oid]; ok && !seen[oid] {
			seen[oid] = true
			payload = segment.AppendMessage(payload, t)
		}
	}
	payload = segment.AppendMessage(payload, msg)
	if old, ok := r.defines[id]; ok && bytes.Equal(old.Payload, payload) {
		return nil
	}
	r.defines[id] = &segment.Define{Relation: id, Fingerprint: pgoutput.Fingerprint(payload), Payload: payload}
	return nil
}

func (r *relations) get(id uint32) (*segment.Define, error) {
	d, ok := r.defines[id]
	if !ok {
		return nil, fmt.Errorf("relation %d was not defined before its use", id)
	}
	return d, nil
}
