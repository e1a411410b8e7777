package segment

import (
	"encoding/binary"
	"hash/crc32"
	"math"

	"tidemark/internal/position"
)

// MaxMeta is the largest size in bytes of a part's meta block. A part that would need more has to be divided.
const MaxMeta = math.MaxUint16

const (
	frameMagic = 0x544D4652
	frameHead  = 72
	flagFirst  = 1
	flagLast   = 2
)

// seedOf is where the checksums of a segment's frame headers begin.
func seedOf(nonce uint64) uint32 {
	return crc32.Checksum(binary.LittleEndian.AppendUint64(nil, nonce), castagnoli)
}

// lengths are the variable sizes of a frame, and the checksum over them.
type lengths struct {
	meta    int
	payload int64
	sum     uint32
}

// size is the frame's size in the file.
func (l lengths) size() int64 { return padded(frameHead + int64(l.meta) + l.payload) }

// appendMeta appends the meta block.
func appendMeta(b []byte, rows []Rows) []byte {
	for _, r := range rows {
		for _, v := range [...]uint32{r.Relation, r.Inserts, r.Updates, r.Deletes, r.Truncates} {
			b = binary.AppendUvarint(b, uint64(v))
		}
	}
	return b
}

// MetaSize gives the bytes that rows take in a meta block.
func MetaSize(rows []Rows) int { return len(appendMeta(nil, rows)) }

// decodeMeta appends the rows of a meta block to into.
func decodeMeta(into []Rows, b []byte) ([]Rows, bool) {
	for len(b) > 0 {
		var v [5]uint32
		for i := range v {
			n, size := binary.Uvarint(b)
			if size <= 0 || n > math.MaxUint32 {
				return into, false
			}
			v[i], b = uint32(n), b[size:]
		}
		into = append(into, Rows{Relation: v[0], Inserts: v[1], Updates: v[2], Deletes: v[3], Truncates: v[4]})
	}
	return into, true
}

// appendLead appends the fixed header and the meta block of f. The caller appends payload and padding.
func appendLead(b []byte, f *Frame, seed uint32) ([]byte, error) {
	if uint64(len(f.Payload)) > math.MaxUint32 {
		return b, invalid("payload of %d bytes", len(f.Payload))
	}
	start := len(b)
	b = append(b, make([]byte, frameHead)...)
	b = appendMeta(b, f.Meta)
	head, meta := b[start:start+frameHead], b[start+frameHead:]
	if len(meta) > MaxMeta {
		return b[:start], invalid("meta block of %d bytes, more than %d", len(meta), MaxMeta)
	}
	le := binary.LittleEndian
	le.PutUint32(head, frameMagic)
	head[4] = byte(f.Kind)
	if f.First {
		head[5] |= flagFirst
	}
	if f.Last {
		head[5] |= flagLast
	}
	le.PutUint16(head[6:], uint16(len(meta)))
	le.PutUint32(head[8:], uint32(len(f.Payload)))
	le.PutUint32(head[12:], crc32.Update(crc32.Checksum(meta, castagnoli), castagnoli, f.Payload))
	le.PutUint32(head[16:], f.subject())
	le.PutUint32(head[20:], f.Number)
	le.PutUint32(head[24:], f.Ordinal)
	le.PutUint32(head[28:], f.Count)
	le.PutUint64(head[32:], f.Synced)
	le.PutUint64(head[40:], uint64(f.Commit))
	le.PutUint64(head[48:], uint64(f.End))
	le.PutUint64(head[56:], uint64(f.Time))
	le.PutUint32(head[64:], crc32.Update(seed, castagnoli, head[:64]))
	return b, nil
}

func (f *Frame) subject() uint32 {
	if f.Kind == Definition {
		return f.Relation
	}
	return f.Xid
}

// decodeHead reads a fixed header of frameHead bytes. The reason says what is wrong with it, if anything.
func decodeHead(b []byte, seed uint32) (f Frame, l lengths, reason string) {
	le := binary.LittleEndian
	if le.Uint32(b) != frameMagic {
		return f, l, "no frame begins here"
	}
	if le.Uint32(b[64:]) != crc32.Update(seed, castagnoli, b[:64]) || le.Uint32(b[68:]) != 0 {
		return f, l, "frame header does not match its checksum"
	}
	f = Frame{
		Kind: Kind(b[4]), First: b[5]&flagFirst != 0, Last: b[5]&flagLast != 0,
		Number: le.Uint32(b[20:]), Ordinal: le.Uint32(b[24:]), Count: le.Uint32(b[28:]), Synced: le.Uint64(b[32:]),
		Commit: position.LSN(le.Uint64(b[40:])), End: position.LSN(le.Uint64(b[48:])), Time: position.Time(le.Uint64(b[56:])),
	}
	l = lengths{meta: int(le.Uint16(b[6:])), payload: int64(le.Uint32(b[8:])), sum: le.Uint32(b[12:])}
	switch {
	case b[5]&^(flagFirst|flagLast) != 0:
		return f, l, "frame with unknown flags"
	case f.Kind == Part || f.Kind == Seal:
		f.Xid = le.Uint32(b[16:])
	case f.Kind == Definition:
		f.Relation = le.Uint32(b[16:])
	default:
		return f, l, "frame of an unknown kind"
	}
	return f, l, ""
}

// decodeBody checks the bytes behind the header, meta block to padding, and fills in Meta (appended to meta) and Payload.
func decodeBody(f *Frame, l lengths, body []byte, meta []Rows) string {
	end := int64(l.meta) + l.payload
	if crc32.Checksum(body[:end], castagnoli) != l.sum {
		return "frame does not match its checksum"
	}
	if !allZero(body[end:]) {
		return "frame is padded with something else than zeros"
	}
	f.Payload = body[l.meta:end:end]
	if f.Kind != Part {
		if l.meta != 0 {
			return "frame with a meta block that has no place in its kind"
		}
		if l.payload == 0 {
			return "frame without a payload"
		}
		return ""
	}
	rows, ok := decodeMeta(meta, body[:l.meta])
	f.Meta = rows
	if !ok {
		return "meta block is no list of relations"
	}
	return countReason(f)
}

func countReason(f *Frame) string {
	var n uint64
	for _, r := range f.Meta {
		n += uint64(r.Inserts) + uint64(r.Updates) + uint64(r.Deletes) + uint64(r.Truncates)
	}
	if n != uint64(f.Count) {
		return "count differs from the rows in the meta block"
	}
	return ""
}
