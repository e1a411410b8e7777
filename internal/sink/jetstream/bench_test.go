package jetstream

import (
	"strings"
	"testing"

	"tidemark/internal/position"
	"tidemark/internal/segment"
	"tidemark/internal/sink/sinktest"
)

// BenchmarkPublish publishes rows of about 170 bytes in transactions of 1,000 to a server that syncs every message.
func BenchmarkPublish(b *testing.B) {
	server, err := StartServer(Embedded{Listen: "127.0.0.1:0", Dir: b.TempDir()}, discard)
	if err != nil {
		b.Fatal(err)
	}
	defer server.Stop()
	k, err := New(Config{URL: server.URL()}, source, discard)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := k.Open(b.Context()); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = k.Close(b.Context()) }()
	insert := sinktest.Rows.Insert("key", strings.Repeat("x", 160))
	frame := segment.Frame{Kind: segment.Part, First: true, Last: true, Count: 1000, Total: 1000, Time: 1}
	for range frame.Count {
		frame.Payload = segment.AppendMessage(frame.Payload, insert)
	}
	define := sinktest.Rows.Define()
	if _, err := k.Apply(b.Context(), []segment.Frame{define}); err != nil {
		b.Fatal(err)
	}
	rows := 0
	for end := position.LSN(0x1000); b.Loop(); end += 0x10 {
		frame.End, frame.Commit = end, end-8
		if _, err := k.Apply(b.Context(), []segment.Frame{frame}); err != nil {
			b.Fatal(err)
		}
		rows += int(frame.Count)
	}
	if _, err := k.Apply(b.Context(), nil); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
}
