package journal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"tidemark/internal/segment"
)

// Append writes one part of a transaction. The last part makes the transaction complete, and the next fsync makes it
// durable. An error that is ErrFull took nothing of the part: the same call may be repeated. One that is segment.ErrInvalid means that the part cannot
// stand here, and nothing was written. Every other error is final.
func (j *Journal) Append(a segment.Append) error {
	j.writing.Lock()
	defer j.writing.Unlock()
	err := j.append(a)
	j.full.Store(IsFull(err))
	return err
}

func (j *Journal) append(a segment.Append) error {
	if err := j.usable(); err != nil {
		return err
	}
	// First the tail: one that is due must be sealed in a full journal too, or nothing could ever be removed from it.
	if err := j.prepare(a.Frame.First); err != nil {
		return err
	}
	if err := j.room(a); err != nil {
		return err
	}
	t := j.tail
	t.w.SetSynced(j.syncedSize(t.w.Header().Sequence))
	if err := t.w.Append(a); err != nil {
		if errors.Is(err, segment.ErrInvalid) {
			return fmt.Errorf("append to journal: %w", err)
		}
		return j.takeBack(err)
	}
	if j.cfg.Trace != nil && a.Frame.Last {
		if err := j.cfg.Trace.Appended(a.Frame.End, fileName(t.w.Header().Sequence), t.w.Size()); err != nil {
			return j.fail(err)
		}
	}
	j.note(a.Frame.Last)
	if a.Frame.Last {
		j.wakeSyncer()
	}
	return nil
}

func (j *Journal) usable() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err == nil && j.closing {
		return ErrClosed
	}
	return j.err
}

// room says ErrFull when a would pass MaxSize. Nothing that is removed helps an open transaction that fills the tail.
func (j *Journal) room(a segment.Append) error {
	need := int64(len(a.Frame.Payload)+segment.MetaSize(a.Frame.Meta)) + 80
	for _, d := range a.Defines {
		need += int64(len(d.Payload)) + 80
	}
	if w := j.tail.w; w.Open() && w.Size()+need > j.cfg.MaxSize {
		return fmt.Errorf("append to journal: one transaction has %d bytes and %d more: raise journal.max_size (%d), or it never fits: %w",
			w.Size()-w.Complete(), need, j.cfg.MaxSize, ErrFull)
	}
	if have := j.Bytes(); have+need > j.cfg.MaxSize {
		return fmt.Errorf("append to journal: %d bytes and %d more pass journal.max_size (%d): %w", have, need, j.cfg.MaxSize, ErrFull)
	}
	return nil
}

// prepare makes sure that there is a tail, and a new one where a transaction begins behind SegmentSize.
func (j *Journal) prepare(first bool) error {
	if t := j.tail; t != nil && first && !t.w.Open() && (j.reseal || t.w.Complete() >= j.cfg.SegmentSize) {
		if err := j.seal(); err != nil {
			return err
		}
	}
	if j.tail == nil {
		return j.create()
	}
	return nil
}

// syncedSize is how many bytes of the tail are known to be fsynced.
func (j *Journal) syncedSize(sequence uint64) int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.durable.sequence != sequence {
		return 0
	}
	return j.durable.size
}

// note tells the shelf what was written.
func (j *Journal) note(complete bool) {
	w := j.tail.w
	j.mu.Lock()
	defer j.mu.Unlock()
	h := j.segments[len(j.segments)-1]
	j.resize(h, w.Size())
	if complete {
		h.totals, h.data = w.Totals(), w.Size()
		end, at := w.Last()
		j.written = mark{sequence: h.header.Sequence, size: w.Size(), end: end, time: at}
	}
}

// takeBack removes what a failed write left. If that works and there was only no room, the journal is as it was.
func (j *Journal) takeBack(cause error) error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	if !noSpace(cause) {
		return j.fail(cause)
	}
	if err := j.cut(); err != nil {
		return err
	}
	return fmt.Errorf("append to journal: %w: %w", ErrFull, cause)
}

// cut durably truncates the tail to what its writer knows of. A crash before the fsync brings back bytes that form no complete
// transaction; a write before the fsync could bring them back behind itself. The caller holds syncing.
func (j *Journal) cut() error {
	t := j.tail
	t.at = t.w.Size()
	if err := t.file.Truncate(t.at); err != nil {
		return j.fail(err)
	}
	if err := j.fsync(t.file.Sync); err != nil {
		return j.fail(err)
	}
	return nil
}

// Discard drops the open transaction, if there is one: its source connection is lost, and it will be sent again from its beginning.
func (j *Journal) Discard() error {
	j.writing.Lock()
	defer j.writing.Unlock()
	if err := j.usable(); err != nil {
		return err
	}
	if j.tail == nil || !j.tail.w.Open() {
		return nil
	}
	j.syncing.Lock()
	defer j.syncing.Unlock()
	if err := j.tail.w.Rollback(); err != nil {
		return j.fail(err)
	}
	if err := j.cut(); err != nil {
		return err
	}
	j.note(false)
	return nil
}

// seal closes the tail. What a crash means at each step:
//
//	before the seal is fsynced   it is torn, and cut by the next Open; or whole, as afterwards
//	after that                   the newest segment is sealed, and the next Append creates one
func (j *Journal) seal() error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	t := j.tail
	t.w.SetSynced(j.syncedSize(t.w.Header().Sequence))
	footer, chain, err := t.w.Seal()
	if err != nil {
		if !noSpace(err) {
			return j.fail(err)
		}
		if err := j.cut(); err != nil {
			return err
		}
		return fmt.Errorf("seal segment: %w: %w", ErrFull, err)
	}
	if err := j.fsync(t.file.Sync); err != nil {
		return j.fail(fmt.Errorf("fsync segment %d: %w", t.w.Header().Sequence, err))
	}
	footer.Index, footer.Definitions = nil, nil // read again from the file by who needs them
	j.mu.Lock()
	h := j.segments[len(j.segments)-1]
	j.resize(h, t.w.Size())
	h.totals, h.sealed = footer, true
	j.file = nil
	all := j.written
	j.mu.Unlock()
	j.publish(all) // the seal's fsync covered all transactions before it
	j.tail, j.chain, j.reseal = nil, chain, false
	_ = t.file.Close() // fsynced
	return nil
}

// create makes the next segment. A crash in it leaves a file without a frame, which the next Open removes, or an empty tail.
func (j *Journal) create() error {
	j.mu.Lock()
	h, end := j.nextHeader(), j.written
	j.mu.Unlock()
	t, err := j.createFile(h)
	if err != nil {
		return err
	}
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	size := t.w.Size()
	j.segments = append(j.segments, &held{header: h, totals: t.w.Totals(), data: size})
	j.resize(j.segments[len(j.segments)-1], size)
	j.written = mark{sequence: h.Sequence, size: size, end: end.end, time: end.time}
	j.durable, j.file, j.tail = j.written, t.file, t
	j.announce()
	return nil
}

// nextHeader is the header of the segment behind the newest. The caller holds mu.
func (j *Journal) nextHeader() segment.Header {
	h := segment.Header{
		SystemID: j.id.SystemID, Timeline: j.id.Timeline, Database: j.id.Database, ServerVersion: uint32(j.id.ServerVersion),
		Slot: j.id.Slot, Generation: j.id.Generation, Sequence: 1, After: j.written.end, Previous: j.chain,
		Created: time.Now().UTC().Truncate(time.Microsecond),
	}
	var nonce [8]byte
	_, _ = rand.Read(nonce[:]) // crypto/rand never fails
	h.Nonce = binary.LittleEndian.Uint64(nonce[:])
	if n := len(j.segments); n > 0 {
		h.Sequence = j.segments[n-1].header.Sequence + 1
	}
	return h
}

// createFile makes header and name of a new segment durable, or leaves nothing.
func (j *Journal) createFile(h segment.Header) (*tail, error) {
	name := j.path(h.Sequence)
	f, err := j.fs.Open(name, true)
	if err != nil {
		if noSpace(err) {
			return nil, fmt.Errorf("create segment: %w: %w", ErrFull, err)
		}
		return nil, j.fail(fmt.Errorf("create segment: %w", err))
	}
	t := &tail{file: f}
	if t.w, err = segment.NewWriter(t, h); err != nil {
		_ = f.Close() // removed
		undo := errors.Join(j.fs.Remove(name), j.fs.SyncDir(j.dir))
		if undo != nil || !noSpace(err) {
			return nil, j.fail(errors.Join(err, undo))
		}
		return nil, fmt.Errorf("create segment: %w: %w", ErrFull, err)
	}
	if err := j.fsync(f.Sync); err != nil {
		_ = f.Close() // broken
		return nil, j.fail(fmt.Errorf("fsync segment %d: %w", h.Sequence, err))
	}
	if err := j.fs.SyncDir(j.dir); err != nil {
		_ = f.Close() // broken
		return nil, j.fail(fmt.Errorf("fsync journal directory: %w", err))
	}
	return t, nil
}
