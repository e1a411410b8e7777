package journal

import (
	"tidemark/internal/segment"
	"tidemark/internal/vfs"
)

// wrongCut serves package planted; the compiler leaves it out of the program that ships. It finds the tail to end before
// its last transaction with rows.
func wrongCut(name string, f vfs.File, s *segment.Scan) (*segment.Scan, error) {
	r, err := segment.NewReader(name, f, s.Complete)
	if err != nil || s.Sealed {
		return s, err
	}
	var behind, group int64 // bytes from the last transaction with rows on, and of the one that is being read
	_, err = segment.Walk(r, func(p *segment.Frame) error {
		const head = 72 // of a frame; all frames are aligned to 8 bytes
		group += (head + int64(segment.MetaSize(p.Meta)+len(p.Payload)) + 7) / 8 * 8
		if p.Last {
			behind += group
			if !p.IsFrontier() {
				behind = group
			}
			group = 0
		}
		return nil
	})
	if err != nil || behind == 0 {
		return s, err
	}
	return segment.Recover(name, f, s.Complete-behind)
}
