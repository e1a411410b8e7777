package pgoutput

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"

	"tidemark/internal/change"
	"tidemark/internal/segment"
)

// RelationHead gives the relation id of an 'R' message. It looks at nothing behind it.
func RelationHead(msg []byte) (uint32, error) {
	r := open(msg, KindRelation)
	id := r.u32()
	if r.err != nil {
		return 0, fmt.Errorf("parse relation: %w", r.err)
	}
	return id, nil
}

// RelationTypes appends the type OID of every column of an 'R' message to into, in column order, built-in types and
// repetitions included. The 'Y' messages of those OIDs belong to the relation's definition.
func RelationTypes(msg []byte, into []uint32) ([]uint32, error) {
	r := open(msg, KindRelation)
	r.u32()
	r.text()
	r.text()
	r.u8()
	for n := r.columns(); n > 0 && r.err == nil; n-- {
		r.u8()
		r.text()
		into = append(into, r.u32())
		r.u32()
	}
	if err := r.end(); err != nil {
		return into, fmt.Errorf("parse relation: %w", err)
	}
	return into, nil
}

// TypeHead gives the type OID of a 'Y' message. It looks at nothing behind it.
func TypeHead(msg []byte) (uint32, error) {
	r := open(msg, KindType)
	oid := r.u32()
	if r.err != nil {
		return 0, fmt.Errorf("parse type: %w", r.err)
	}
	return oid, nil
}

// Fingerprint identifies the payload of a definition frame: change.Relation.Fingerprint and
// segment.Define.Fingerprint. It is the first 8 bytes of the payload's SHA-256, the same on every machine.
func Fingerprint(payload []byte) uint64 {
	sum := sha256.Sum256(payload)
	return binary.BigEndian.Uint64(sum[:])
}

// userType is what a 'Y' message tells of a user-made type.
type userType struct {
	oid          uint32
	schema, name string
}

func parseType(msg []byte) (userType, error) {
	r := open(msg, KindType)
	t := userType{oid: r.u32(), schema: schemaName(r.text()), name: string(r.text())}
	if err := r.end(); err != nil {
		return userType{}, fmt.Errorf("parse type: %w", err)
	}
	return t, nil
}

// parseRelation reads an 'R' message. types names the user-made types by OID.
func parseRelation(msg []byte, types map[uint32]string) (*change.Relation, error) {
	r := open(msg, KindRelation)
	rel := &change.Relation{ID: r.u32(), Schema: schemaName(r.text()), Name: string(r.text()), Identity: change.Identity(r.u8())}
	switch rel.Identity {
	case change.IdentityDefault, change.IdentityNothing, change.IdentityFull, change.IdentityIndex:
	default:
		r.fail(errIdentity)
	}
	for n := r.columns(); n > 0 && r.err == nil; n-- {
		c := change.Column{Key: r.u8()&1 != 0, Name: string(r.text()), Type: r.u32(), TypeMod: int32(r.u32())}
		c.TypeName = types[c.Type]
		rel.Columns = append(rel.Columns, c)
	}
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("parse relation: %w", err)
	}
	return rel, nil
}

// parseDefinition reads the payload of a definition frame: type messages, then one relation message.
func parseDefinition(payload []byte) (*change.Relation, error) {
	types := map[uint32]string{}
	var rel *change.Relation
	for msg, err := range segment.Messages(payload) {
		if err != nil {
			return nil, err
		}
		if rel != nil {
			return nil, fmt.Errorf("%w: a message follows the relation message", ErrMalformed)
		}
		if msg[0] == KindRelation {
			if rel, err = parseRelation(msg, types); err != nil {
				return nil, err
			}
			continue
		}
		t, err := parseType(msg)
		if err != nil {
			return nil, err
		}
		types[t.oid] = quoteName(t.schema) + "." + quoteName(t.name)
	}
	if rel == nil {
		return nil, fmt.Errorf("%w: no relation message in the definition", ErrMalformed)
	}
	rel.Fingerprint = Fingerprint(payload)
	return rel, nil
}

// schemaName undoes the protocol's abbreviation of pg_catalog.
func schemaName(b []byte) string {
	if len(b) == 0 {
		return "pg_catalog"
	}
	return string(b)
}

// quoteName quotes a name where it is more than lower-case letters, digits and underscores, so that a qualified name
// has one reading.
func quoteName(s string) string {
	for i, c := range []byte(s) {
		if c >= 'a' && c <= 'z' || c == '_' || i > 0 && c >= '0' && c <= '9' {
			continue
		}
		return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
	}
	return s
}
