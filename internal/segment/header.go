package segment

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"google.golang.org/protobuf/proto"

	"tidemark/internal/position"
	segmentv1 "tidemark/proto/tidemark/segment/v1"
)

// Format is the version of the format that this package writes, and the only one that it reads.
const Format = 1

// MaxHeader is the largest size in bytes of the header message.
const MaxHeader = 4096

// Encoding is the client encoding of all row bytes in format 1.
const Encoding = "UTF8"

const (
	magic      = "TMSEG\x00\x01\x0a"
	headerLead = 16 // magic, length, checksum
	alignment  = 8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Digest is a SHA-256. The zero Digest stands for none.
type Digest [sha256.Size]byte

// IsZero reports whether there is no digest.
func (d Digest) IsZero() bool { return d == Digest{} }

// String gives 64 hexadecimal digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Header opens a segment and says whose changes it holds. segment.proto says what each field means.
type Header struct {
	SystemID      string
	Timeline      uint32
	Database      string
	ServerVersion uint32
	Slot          string
	// Generation is the LSN of the slot's consistent point.
	Generation position.LSN
	// Sequence is the contiguous number of the segment, from 1.
	Sequence uint64
	// After is the end LSN up to which everything is in earlier segments, or before the beginning.
	After position.LSN
	// Previous is the chain digest of the segment before, zero for the first.
	Previous Digest
	Nonce    uint64
	// Created is on the service's clock, in microseconds.
	Created time.Time
}

// Validate says what is missing or contradictory.
func (h Header) Validate() error {
	switch {
	case h.SystemID == "":
		return invalid("header without a system identifier")
	case h.Database == "":
		return invalid("header without a database")
	case h.Sequence == 0:
		return invalid("header without a sequence number")
	case h.Sequence == 1 && !h.Previous.IsZero():
		return invalid("header of segment 1 with the digest of a previous one")
	}
	return nil
}

// encode gives the whole block, padded.
func (h Header) encode() ([]byte, error) {
	if err := h.Validate(); err != nil {
		return nil, err
	}
	m := &segmentv1.Header{
		Format: Format, SystemId: h.SystemID, Timeline: h.Timeline, Database: h.Database, ServerVersion: h.ServerVersion,
		Encoding: Encoding, Slot: h.Slot, SlotGeneration: h.Generation.String(), Sequence: h.Sequence, After: uint64(h.After),
		Nonce: h.Nonce, Created: h.Created.UnixMicro(),
	}
	if !h.Previous.IsZero() {
		m.PreviousDigest = h.Previous[:]
	}
	block := make([]byte, headerLead, 512)
	block, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(block, m)
	if err != nil {
		return nil, fmt.Errorf("encode segment header: %w", err)
	}
	length := len(block) - headerLead
	if length > MaxHeader {
		return nil, invalid("header of %d bytes, more than %d", length, MaxHeader)
	}
	copy(block, magic)
	binary.LittleEndian.PutUint32(block[8:], uint32(length))
	binary.LittleEndian.PutUint32(block[12:], headerSum(block[8:12], block[headerLead:]))
	return pad(block), nil
}

func headerSum(length, message []byte) uint32 {
	return crc32.Update(crc32.Checksum(length, castagnoli), castagnoli, message)
}

func pad(b []byte) []byte {
	for len(b)%alignment != 0 {
		b = append(b, 0)
	}
	return b
}

func padded(n int64) int64 { return (n + alignment - 1) / alignment * alignment }

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// readHeader reads the header block through w and returns it with its bytes.
func readHeader(name string, w *window) (Header, []byte, error) {
	bad := func(reason string) (Header, []byte, error) {
		return Header{}, nil, &CorruptionError{Name: name, Reason: reason}
	}
	lead, err := w.get(0, headerLead)
	if err != nil {
		return Header{}, nil, err
	}
	if len(lead) < headerLead || string(lead[:8]) != magic {
		return bad("it does not begin as a segment does")
	}
	length := int64(binary.LittleEndian.Uint32(lead[8:]))
	if length > MaxHeader {
		return bad(fmt.Sprintf("header of %d bytes", length))
	}
	size := padded(headerLead + length)
	block, err := w.get(0, int(size))
	if err != nil {
		return Header{}, nil, err
	}
	if int64(len(block)) < size {
		return bad("header is cut off")
	}
	message := block[headerLead : headerLead+length]
	if headerSum(block[8:12], message) != binary.LittleEndian.Uint32(block[12:]) || !allZero(block[headerLead+length:]) {
		return bad("header does not match its checksum")
	}
	h, err := decodeHeader(name, message)
	return h, block, err
}

func decodeHeader(name string, message []byte) (Header, error) {
	bad := func(reason string) (Header, error) { return Header{}, &CorruptionError{Name: name, Reason: reason} }
	var m segmentv1.Header
	if err := proto.Unmarshal(message, &m); err != nil {
		return bad("header is not a header message")
	}
	if m.Format != Format || m.Encoding != Encoding {
		return Header{}, fmt.Errorf("read segment %s of format %d, encoding %q: this version reads format %d, encoding %s: %w",
			name, m.Format, m.Encoding, Format, Encoding, ErrFormat)
	}
	generation, err := position.ParseLSN(m.SlotGeneration)
	if err != nil {
		return bad("header's slot generation is no LSN")
	}
	h := Header{
		SystemID: m.SystemId, Timeline: m.Timeline, Database: m.Database, ServerVersion: m.ServerVersion, Slot: m.Slot,
		Generation: generation, Sequence: m.Sequence, After: position.LSN(m.After), Nonce: m.Nonce, Created: time.UnixMicro(m.Created).UTC(),
	}
	switch len(m.PreviousDigest) {
	case 0:
	case len(h.Previous):
		copy(h.Previous[:], m.PreviousDigest)
	default:
		return bad("header's digest of the previous segment has a wrong length")
	}
	if err := h.Validate(); err != nil {
		return bad(err.Error())
	}
	return h, nil
}

// ReadHeader reads only the header of a segment.
func ReadHeader(name string, src io.ReaderAt, size int64) (Header, error) {
	h, _, err := readHeader(name, &window{name: name, src: src, limit: min(size, headerLead+MaxHeader)})
	return h, err
}
