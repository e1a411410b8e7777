package oracle

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"tidemark/internal/position"

	"tidemark/integration/checker/fold"
)

// history keeps on disk what happened to each row, so that a table's rows at any earlier LSN can be said when a difference was
// found. Values are not in it, only hashes and keys. It is a sequence of steps
//
//	step (1 byte), end LSN (8 bytes), table's number (uvarint), hash (8 bytes), key's length (uvarint), key
//
// in commit order, those of a transaction together. Nothing of it survives the process.
type history struct {
	mu      sync.Mutex
	file    *os.File
	w       *bufio.Writer
	numbers map[string]uint64
	err     error // of the first write that did not succeed
}

func newHistory(path string, tables []fold.Table) (*history, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create history: %w", err)
	}
	h := &history{file: f, w: bufio.NewWriterSize(f, 1<<16), numbers: map[string]uint64{}}
	for i, t := range tables {
		h.numbers[t.String()] = uint64(i)
	}
	return h, nil
}

func (h *history) add(at position.LSN, step fold.Step, table, key string, hash uint64) {
	b := make([]byte, 0, 48)
	b = append(b, byte(step))
	b = binary.BigEndian.AppendUint64(b, uint64(at))
	b = binary.AppendUvarint(b, h.numbers[table])
	b = binary.BigEndian.AppendUint64(b, hash)
	b = binary.AppendUvarint(b, uint64(len(key)))
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := h.w.Write(b)
	if err == nil {
		_, err = h.w.WriteString(key)
	}
	if h.err == nil {
		h.err = err
	}
}

// rows folds a table's steps up to an LSN.
func (h *history) rows(table fold.Table, to position.LSN) (map[string]uint64, error) {
	h.mu.Lock()
	if err := h.w.Flush(); h.err == nil {
		h.err = err
	}
	err := h.err
	size, seekErr := h.file.Seek(0, io.SeekEnd)
	h.mu.Unlock()
	if err := errors.Join(err, seekErr); err != nil {
		return nil, fmt.Errorf("write history: %w", err)
	}
	r := bufio.NewReaderSize(io.NewSectionReader(h.file, 0, size), 1<<18)
	out, copies := map[string]uint64{}, map[uint64]int{}
	for {
		s, err := readStep(r)
		switch {
		case errors.Is(err, io.EOF) || err == nil && s.at > to:
			return withCopies(out, copies), nil
		case err != nil:
			return nil, fmt.Errorf("read history: %w", err)
		case s.table != h.numbers[table.String()]:
		case s.step == fold.AllGo:
			clear(out)
			clear(copies)
		case table.Identity != fold.Keyed && s.step == fold.Comes:
			copies[s.hash]++
		case table.Identity != fold.Keyed:
			copies[s.hash]--
		case s.step == fold.Comes:
			out[s.key] = s.hash
		default:
			delete(out, s.key)
		}
	}
}

func withCopies(out map[string]uint64, copies map[uint64]int) map[string]uint64 {
	for hash, n := range copies {
		for i := range n {
			out[fold.CopyKey(hash, i)] = hash
		}
	}
	return out
}

type stepRead struct {
	step  fold.Step
	at    position.LSN
	table uint64
	hash  uint64
	key   string
}

// readStep returns io.EOF at the end, which is never inside a step.
func readStep(r *bufio.Reader) (s stepRead, err error) {
	var head [9]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return s, err
	}
	s.step, s.at = fold.Step(head[0]), position.LSN(binary.BigEndian.Uint64(head[1:]))
	if s.table, err = binary.ReadUvarint(r); err != nil {
		return s, err
	}
	if _, err := io.ReadFull(r, head[:8]); err != nil {
		return s, err
	}
	s.hash = binary.BigEndian.Uint64(head[:8])
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return s, err
	}
	key := make([]byte, n)
	_, err = io.ReadFull(r, key)
	s.key = string(key)
	return s, err
}

func (h *history) close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.file.Close()
}
