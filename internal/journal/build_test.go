package journal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tidemark/internal/journal"
	"tidemark/internal/position"
	"tidemark/internal/progress"
	"tidemark/internal/segment"
	"tidemark/internal/vfs"
	"tidemark/internal/vfs/crashfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	dir   = "/journal"
	start = position.LSN(0x1000)
)

var id = journal.Identity{
	SystemID: "7312345678901234567", Timeline: 1, Database: "app", ServerVersion: 170010, Slot: "tidemark", Generation: 0x1000,
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// small makes a segment of a few transactions.
func small() journal.Config {
	return journal.Config{Dir: dir, SegmentSize: 1 << 10, MaxSize: 1 << 20, Retention: time.Hour}
}

// board opens a journal with a board and returns both.
func open(fs vfs.FS, cfg journal.Config) (*journal.Journal, *progress.Board, error) {
	b := progress.New()
	j, err := journal.Open(fs, cfg, id, start, b, nil, quiet())
	return j, b, err
}

func mustOpen(tb testing.TB, fs vfs.FS, cfg journal.Config) (*journal.Journal, *progress.Board) {
	tb.Helper()
	j, b, err := open(fs, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = j.Close(context.Background()) })
	return j, b
}

func end(n int) position.LSN { return start + position.LSN(n)*0x10 }

// transaction is the n-th transaction, from 1: its shape follows from n alone. Every third has three parts, every fifth
// changes a definition, every seventh is empty.
func transaction(n int) []segment.Append {
	parts := 1
	if n%3 == 0 {
		parts = 3
	}
	var out []segment.Append
	var ordinal uint32
	for i := range parts {
		count := uint32(1 + (n+i)%3)
		if n%7 == 0 {
			count = 0
		}
		relation := uint32(10 + (n+i)%2)
		f := segment.Frame{
			Kind: segment.Part, First: i == 0, Last: i == parts-1, Xid: uint32(n), Number: uint32(i), Ordinal: ordinal, Count: count,
			Commit: end(n) - 4, End: end(n), Time: position.Time(n) * 1000,
		}
		var defines []segment.Define
		if count > 0 {
			f.Meta = []segment.Rows{{Relation: relation, Inserts: count}}
			defines = []segment.Define{definition(relation, n/5)}
		}
		for row := range count {
			f.Payload = segment.AppendMessage(f.Payload, fmt.Appendf(nil, "transaction %d part %d row %d", n, i, row))
		}
		ordinal += count
		out = append(out, segment.Append{Frame: f, Defines: defines})
	}
	return out
}

func definition(relation uint32, version int) segment.Define {
	payload := segment.AppendMessage(nil, fmt.Appendf(nil, "relation %d version %d", relation, version))
	return segment.Define{Relation: relation, Fingerprint: segment.Fingerprint(payload), Payload: payload}
}

// add appends whole transactions.
func add(j *journal.Journal, from, to int) error {
	for n := from; n <= to; n++ {
		for _, a := range transaction(n) {
			if err := j.Append(a); err != nil {
				return err
			}
		}
	}
	return nil
}

func mustAdd(tb testing.TB, j *journal.Journal, from, to int) {
	tb.Helper()
	if err := add(j, from, to); err != nil {
		tb.Fatal(err)
	}
}

// await waits until the board says that the n-th transaction is durable, or the journal breaks.
func await(j *journal.Journal, b *progress.Board, n int) error {
	timeout := time.After(20 * time.Second)
	for {
		changed := b.Changed()
		if m, ok := b.Get(progress.Journal); ok && m.Stored >= end(n) {
			return nil
		}
		select {
		case <-changed:
		case <-j.Failed():
			return j.Err()
		case <-timeout:
			return fmt.Errorf("transaction %d is not durable", n)
		}
	}
}

func mustAwait(tb testing.TB, j *journal.Journal, b *progress.Board, n int) {
	tb.Helper()
	if err := await(j, b, n); err != nil {
		tb.Fatal(err)
	}
}

// reading is what a reader's user keeps.
type reading struct {
	defs  segment.Definitions
	next  int // transaction
	parts int // of it
}

// take checks a frame: it must be the next one.
func (r *reading) take(f segment.Frame) error {
	if f.Kind == segment.Definition {
		r.defs.Learn(&f)
		return nil
	}
	want := transaction(r.next)
	a := want[r.parts]
	last := want[len(want)-1].Frame
	if f.End != end(r.next) || f.Total != last.Ordinal+last.Count || f.First != a.Frame.First || f.Last != a.Frame.Last ||
		f.Xid != a.Frame.Xid || f.Ordinal != a.Frame.Ordinal || f.Time != a.Frame.Time || !bytes.Equal(f.Payload, a.Frame.Payload) {
		return fmt.Errorf("frame %+v is not part %d of transaction %d", f, r.parts, r.next)
	}
	defines, err := r.defs.Defines(nil, f.Meta)
	if err != nil {
		return err
	}
	for i, d := range defines {
		if !bytes.Equal(d.Payload, a.Defines[i].Payload) {
			return fmt.Errorf("transaction %d sees definition %q, want %q", r.next, d.Payload, a.Defines[i].Payload)
		}
	}
	if r.parts++; f.Last {
		r.next, r.parts = r.next+1, 0
	}
	return nil
}

type source interface {
	Read(after position.LSN) (*journal.Reader, error)
}

// content reads everything that is there behind the n-th transaction and returns the number of the last one.
func content(j source, n int, until func(r *journal.Reader) bool) (int, error) {
	after := end(n)
	if n == 0 {
		after = 0
	}
	r, err := j.Read(after)
	if err != nil {
		return 0, err
	}
	defer func() { _ = r.Close() }()
	return drain(r, n+1, until)
}

func drain(r *journal.Reader, first int, until func(r *journal.Reader) bool) (int, error) {
	state := reading{next: first}
	for !until(r) {
		f, err := r.Next(context.Background())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, err
		}
		if err := state.take(f); err != nil {
			return 0, err
		}
	}
	if state.parts != 0 {
		return 0, fmt.Errorf("transaction %d ends after part %d", state.next, state.parts)
	}
	return state.next - 1, nil
}

func notReady(r *journal.Reader) bool { return !r.Ready() }

func verify(fs vfs.FS) error {
	v, err := journal.OpenReadOnly(fs, dir)
	if err != nil {
		return err
	}
	_, err = v.Verify(context.Background())
	return err
}

var _ vfs.FS = (*crashfs.FS)(nil)
