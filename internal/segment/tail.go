package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Recover walks a segment that may have been left by a crash, and decides between torn and rotten as the package
// comment says. Torn: the Scan says where the last complete transaction ends, and Stop, if set, why reading ended.
// Rotten: a *CorruptionError.
func Recover(name string, src io.ReaderAt, size int64) (*Scan, error) {
	r, err := NewReader(name, src, size)
	if err != nil {
		return nil, err
	}
	s, err := Walk(r, nil)
	if err != nil || s.Stop == nil {
		return s, err
	}
	if _, ok := r.Footer(); ok {
		return s, s.Stop // a seal is written only behind good frames, and nothing behind a seal
	}
	witness, err := findFrame(src, s.Stop.Position+alignment, size, r.seed, func(f Frame, _ int64, _ lengths) bool {
		return f.Synced > uint64(s.Stop.Position)
	})
	if err != nil {
		return nil, fmt.Errorf("read segment %s: %w", name, err)
	}
	if witness >= 0 {
		reason := fmt.Sprintf("%s, although the frame at byte %d says that it had been fsynced", s.Stop.Reason, witness)
		return s, &CorruptionError{Name: name, Position: s.Stop.Position, Reason: reason}
	}
	return s, nil
}

// Unborn reports whether a file that has no readable header can be what a crash leaves of a segment's creation: no
// larger than a header, and without any frame.
func Unborn(src io.ReaderAt, size int64) (bool, error) {
	if size > headerLead+MaxHeader {
		return false, nil
	}
	b := make([]byte, size)
	if n, err := src.ReadAt(b, 0); n < len(b) {
		return false, fmt.Errorf("read the beginning of a segment: %w", err)
	}
	lead := binary.LittleEndian.AppendUint32(nil, frameMagic)
	for i := 0; i+len(lead) <= len(b); i += alignment {
		if bytes.Equal(b[i:i+len(lead)], lead) {
			return false, nil
		}
	}
	return true, nil
}

// ReadFooter reads the header and the footer of a closed segment without what is between. place is where the seal
// begins: the end of the last transaction. A segment without a good seal at its end gives a *CorruptionError.
func ReadFooter(name string, src io.ReaderAt, size int64) (h Header, f Footer, place int64, err error) {
	h, err = ReadHeader(name, src, size)
	if err != nil {
		return h, f, 0, err
	}
	bad := func(at int64, reason string) (Header, Footer, int64, error) {
		return h, Footer{}, 0, &CorruptionError{Name: name, Position: at, Reason: reason}
	}
	var l lengths
	isSeal := func(f Frame, at int64, lens lengths) bool {
		l = lens
		return f.Kind == Seal && at+lens.size() == size
	}
	for from := size; ; { // a footer is small: look at the end first, then at twice as much
		from = max(0, size-max(2*(size-from), chunk))
		if place, err = findFrame(src, from/alignment*alignment, size, seedOf(h.Nonce), isSeal); err != nil {
			return h, f, 0, fmt.Errorf("read segment %s: %w", name, err)
		}
		if place >= 0 {
			break
		}
		if from == 0 {
			return bad(size, "segment ends without a seal")
		}
	}
	b := make([]byte, l.size())
	if n, err := src.ReadAt(b, place); n < len(b) {
		return h, f, 0, fmt.Errorf("read segment %s at byte %d: %w", name, place, err)
	}
	seal := Frame{Kind: Seal}
	if reason := decodeBody(&seal, l, b[frameHead:], nil); reason != "" {
		return bad(place, reason)
	}
	if f, err = decodeFooter(seal.Payload); err != nil {
		return bad(place, err.Error())
	}
	if n := len(f.Index); f.Last < h.After || n > 0 && f.Index[n-1].Place >= place {
		return bad(place, "footer does not belong to this segment")
	}
	return h, f, place, nil
}

// findFrame returns the place of the first good frame header from a place on that match accepts, -1 for none.
func findFrame(src io.ReaderAt, from, size int64, seed uint32, match func(Frame, int64, lengths) bool) (int64, error) {
	lead := binary.LittleEndian.AppendUint32(nil, frameMagic)
	buf := make([]byte, min(chunk, max(0, size-from)))
	for ; size-from >= frameHead; from += max(alignment, int64(len(buf)-frameHead)/alignment*alignment) {
		buf = buf[:min(int64(len(buf)), size-from)]
		if n, err := src.ReadAt(buf, from); n < len(buf) {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return -1, err
		}
		for i := 0; i+frameHead <= len(buf); i += alignment {
			if !bytes.Equal(buf[i:i+len(lead)], lead) {
				continue
			}
			f, l, reason := decodeHead(buf[i:i+frameHead], seed)
			if reason == "" && match(f, from+int64(i), l) {
				return from + int64(i), nil
			}
		}
	}
	return -1, nil
}
