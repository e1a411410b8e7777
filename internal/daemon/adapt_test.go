package daemon

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"

	"tidemark/internal/journal"
	"tidemark/internal/position"
	"tidemark/internal/segment"
	"tidemark/internal/sink"
	"tidemark/internal/vfs/crashfs"
)

// A sink whose journal is damaged stops and says so, whether the damage shows at opening or later.
func TestDamagedJournalIsPermanent(t *testing.T) {
	for what, place := range map[string]int{"in a frame": 700, "in the header": 20} {
		fs := crashfs.New()
		j, err := journal.Open(fs, journal.Config{Dir: "/journal", SegmentSize: 1 << 10}, journal.Identity{SystemID: "1", Database: "app"}, 100, nil, nil, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		for end := position.LSN(200); len(j.Segments()) < 2; end += 100 {
			if err := j.Append(segment.Append{Frame: segment.Frontier(end, 0)}); err != nil {
				t.Fatal(err)
			}
		}
		name := filepath.Join("/journal", j.Segments()[0].Name)
		damaged := fs.Content(name)
		damaged[place] ^= 1
		fs.SetContent(name, damaged)
		if err := readAll(j); !sink.IsPermanent(err) {
			t.Errorf("damage %s gives %v", what, err)
		}
		if err := j.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}

// readAll reads as a runner does, up to an error or the end of what is there.
func readAll(j *journal.Journal) error {
	log, err := openLog(j)(0)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	for log.Ready() {
		if _, err := log.Next(context.Background()); err != nil {
			return err
		}
	}
	return nil
}
