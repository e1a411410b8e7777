package check

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"

	"tidemark/internal/position"
)

const (
	copiedMost   = 64 << 20 // bytes of segments that are copied at a check
	exitProblem  = 1        // what `journal verify` exits with when it finds damage
	segmentMagic = "TMSEG\x00\x01\x0a"
	frameMagic   = 0x544D4652
	frameHead    = 72
)

// damaged copies a segment of its choice, with the one behind it, and flips a bit in the copy that is under a checksum and can be no torn
// end. `journal verify` must accept the copy before, and then exit 1. A copy that was judged wrongly stays.
func (c *Journal) damaged(ctx context.Context, segments []journalSegment, confirmed position.LSN) error {
	i := c.Rand.IntN(len(segments))
	for ; i >= 0; i-- { // the newest may have nothing that it can be held to
		last := i == len(segments)-1
		chosen := segments[i:min(i+2, len(segments))]
		b, err := os.ReadFile(filepath.Join(c.Dir, chosen[0].Name))
		if err != nil {
			return fmt.Errorf("copy a segment: %w", err)
		}
		size := int64(0)
		for _, s := range chosen {
			size += s.Bytes
		}
		if size > copiedMost {
			c.add("copies too large", 1)
			return nil
		}
		if places := vital(b, chosen[0].Bytes-chosen[0].Unfinished, last); len(places) > 0 {
			f := places[c.Rand.IntN(len(places))]
			at := f.at + c.Rand.Int64N(f.size-4)
			if at >= f.at+frameHead-4 { // no checksum is over the head's last four bytes
				at += 4
			}
			return c.flip(ctx, chosen, b, at, confirmed)
		}
	}
	return nil
}

// flip makes the copy, and flips one bit of the byte at a place in its first segment.
func (c *Journal) flip(ctx context.Context, chosen []journalSegment, b []byte, at int64, confirmed position.LSN) (err error) {
	dir, err := os.MkdirTemp(filepath.Dir(c.Dir), "damaged_")
	if err != nil {
		return fmt.Errorf("copy a segment: %w", err)
	}
	wrong := ""
	defer func() {
		if wrong == "" {
			_ = os.RemoveAll(dir) // a directory too many does no harm
		}
	}()
	first := filepath.Join(dir, chosen[0].Name)
	if err := os.WriteFile(first, b, 0o600); err != nil {
		return fmt.Errorf("copy a segment: %w", err)
	}
	for _, s := range chosen[1:] {
		next, err := os.ReadFile(filepath.Join(c.Dir, s.Name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, s.Name), next, 0o600)
		}
		if err != nil {
			return fmt.Errorf("copy a segment: %w", err)
		}
	}
	for _, damaged := range []bool{false, true} {
		want := 0
		if damaged {
			want = exitProblem
			b[at] ^= 1 << c.Rand.IntN(8)
			if err := os.WriteFile(first, b, 0o600); err != nil {
				return fmt.Errorf("damage a copy: %w", err)
			}
		}
		code, _, stderr, err := c.Command(ctx, "journal", "verify", "--dir", dir, "--json")
		if err == nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("verify a copy: %w", err)
		}
		if code == want {
			continue
		}
		if wrong = fmt.Sprintf("journal verify exits %d for a sound copy of segment %s: %s", code, chosen[0].Name, lastLine(stderr)); damaged {
			wrong = fmt.Sprintf("journal verify exits %d, not %d, for a copy of segment %s whose byte %d is damaged", code, want, chosen[0].Name, at)
		}
		return Violated(journalCheck, confirmed, "%s; the copy %s is kept", wrong, dir)
	}
	c.add("flipped bits found", 1)
	return nil
}

// frame is where a frame of a segment is: head, meta block and payload, without padding.
type frame struct{ at, size int64 }

// vital lists the frames of a segment which are held to be whole. In the newest these are only the ones that a later frame says were
// fsynced before it; what is behind may be a torn end. complete is where the last complete transaction ends. The layout is that of
// internal/segment/doc.go.
func vital(b []byte, complete int64, last bool) (out []frame) {
	le := binary.LittleEndian
	if len(b) < 16 || string(b[:8]) != segmentMagic {
		return nil
	}
	var synced int64
	end := int64(len(b))
	if last {
		end = min(end, complete)
	}
	padded := func(n int64) int64 { return (n + 7) / 8 * 8 }
	for at := padded(16 + int64(le.Uint32(b[8:]))); at+frameHead <= end && le.Uint32(b[at:]) == frameMagic; {
		f := frame{at, frameHead + int64(le.Uint16(b[at+6:])) + int64(le.Uint32(b[at+8:]))}
		if at+f.size > end {
			break
		}
		out, synced, at = append(out, f), max(synced, int64(le.Uint64(b[at+32:]))), at+padded(f.size)
	}
	for last && len(out) > 0 && out[len(out)-1].at+out[len(out)-1].size > synced {
		out = out[:len(out)-1]
	}
	return out
}
