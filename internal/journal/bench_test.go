package journal_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"tidemark/internal/journal"
	"tidemark/internal/position"
	"tidemark/internal/segment"
	"tidemark/internal/vfs"
)

// BenchmarkAppend appends transactions of rows of 170 bytes to real files, fsynced in groups.
func BenchmarkAppend(b *testing.B) {
	for _, rows := range []int{4, 1000} {
		b.Run(fmt.Sprint(rows, " rows"), func(b *testing.B) {
			j, err := journal.Open(vfs.OS{}, journal.Config{Dir: b.TempDir()}, id, start, nil, nil, quiet())
			if err != nil {
				b.Fatal(err)
			}
			a := segment.Append{Defines: []segment.Define{definition(10, 1)}}
			a.Frame = segment.Frame{Kind: segment.Part, First: true, Last: true, Count: uint32(rows), Meta: []segment.Rows{{Relation: 10, Inserts: uint32(rows)}}}
			for range rows {
				a.Frame.Payload = segment.AppendMessage(a.Frame.Payload, bytes.Repeat([]byte{'x'}, 170))
			}
			b.SetBytes(int64(len(a.Frame.Payload)))
			b.ReportAllocs()
			n := position.LSN(0)
			for b.Loop() {
				n++
				a.Frame.Commit, a.Frame.End, a.Frame.Time = start+n*16-8, start+n*16, position.Time(n)
				if err := j.Append(a); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			if err := j.Close(context.Background()); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkRead reads a durable journal from its beginning.
func BenchmarkRead(b *testing.B) {
	cfg := journal.Config{Dir: b.TempDir()}
	j, err := journal.Open(vfs.OS{}, cfg, id, start, nil, nil, quiet())
	if err != nil {
		b.Fatal(err)
	}
	mustAdd(b, j, 1, 20000)
	if err := j.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
	v, err := journal.OpenReadOnly(vfs.OS{}, cfg.Dir)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(v.Bytes())
	for b.Loop() {
		r, err := v.Read(0)
		if err != nil {
			b.Fatal(err)
		}
		for err == nil {
			_, err = r.Next(context.Background())
		}
		_ = r.Close()
	}
}
