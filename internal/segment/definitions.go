package segment

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// Fingerprint identifies the payload of a definition: the first 8 bytes of its SHA-256, big endian.
func Fingerprint(payload []byte) uint64 {
	sum := sha256.Sum256(payload)
	return binary.BigEndian.Uint64(sum[:])
}

// Definitions remembers the latest definition of each relation while frames are read, for one who writes the parts
// into another segment. The zero value is ready. One goroutine uses it.
type Definitions struct {
	latest map[uint32]Define
}

// Learn takes in a definition frame; its payload is copied. Other kinds are ignored.
func (d *Definitions) Learn(f *Frame) {
	if f.Kind != Definition || bytes.Equal(d.latest[f.Relation].Payload, f.Payload) {
		return
	}
	if d.latest == nil {
		d.latest = map[uint32]Define{}
	}
	payload := bytes.Clone(f.Payload)
	d.latest[f.Relation] = Define{Relation: f.Relation, Fingerprint: Fingerprint(payload), Payload: payload}
}

// Defines appends to into the definitions that a part with this meta block needs, as they hold now.
func (d *Definitions) Defines(into []Define, meta []Rows) ([]Define, error) {
	for _, r := range meta {
		def, ok := d.latest[r.Relation]
		if !ok {
			return into, fmt.Errorf("find the definition of relation %d: none was read before its rows", r.Relation)
		}
		into = append(into, def)
	}
	return into, nil
}
