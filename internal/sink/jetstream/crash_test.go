package jetstream

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tidemark/internal/event"
	"tidemark/internal/position"
	"tidemark/internal/progress"
	"tidemark/internal/segment"
	"tidemark/internal/sink"
	"tidemark/internal/sink/sinktest"
)

func TestStoredButNotAcknowledged(t *testing.T) {
	p := startProcess(t)
	x := startProxy(t, p.port)
	s := newStream(t, p.url())
	s.cfg.URL = x.url()
	k, _ := s.open(t)
	defines := []segment.Frame{sinktest.Rows.Define()}
	apply(t, k, append(slices.Clone(defines), tx(0x1000, sinktest.Part{sinktest.Rows})...)...)
	apply(t, k)
	x.setDeaf(true)
	second := tx(0x2000, sinktest.Part{sinktest.Rows, sinktest.Rows}, sinktest.Part{sinktest.Rows})
	if r := apply(t, k, second...); r.Stored != 0x1000 {
		t.Errorf("reached %+v without an acknowledgement", r)
	}
	s.await(t, 6) // stored, while nobody tells us
	x.cut()
	if _, err := k.Apply(t.Context(), nil); err == nil || sink.IsPermanent(err) {
		t.Errorf("a lost connection gives %v", err)
	}
	x.setDeaf(false)
	r, err := k.Open(t.Context())
	if err != nil || r.Stored != 0x2000 {
		t.Fatalf("reopened at %+v, %v; want what the stream holds", r, err)
	}
	apply(t, k, append(slices.Clone(defines), tx(0x3000, sinktest.Part{sinktest.Rows})...)...)
	apply(t, k)
	rows, _ := s.rows(t)
	if want := slices.Concat(at(0x1000, 0), at(0x2000, 0, 1, 2), at(0x3000, 0)); !slices.Equal(rows, want) {
		t.Errorf("rows %v, want %v", rows, want)
	}
}

// await waits until the stream holds n messages.
func (s *stream) await(t *testing.T, n uint64) {
	t.Helper()
	st, err := s.js.Stream(t.Context(), "TIDEMARK")
	if err != nil {
		t.Fatal(err)
	}
	for begun := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		info, err := st.Info(t.Context())
		if err == nil && info.State.LastSeq >= n {
			return
		}
		if time.Since(begun) > 10*time.Second {
			t.Fatalf("stream does not reach %d messages: %v", n, err)
		}
	}
}

func TestSilentServerIsGivenUp(t *testing.T) {
	p := startProcess(t)
	x := startProxy(t, p.port)
	s := newStream(t, p.url())
	s.cfg.URL, s.cfg.AckTimeout, s.cfg.Window = x.url(), 300*time.Millisecond, 2
	k, _ := s.open(t)
	x.setDeaf(true)
	begun := time.Now()
	_, err := k.Apply(t.Context(), append([]segment.Frame{sinktest.Rows.Define()},
		tx(0x1000, sinktest.Part{sinktest.Rows, sinktest.Rows, sinktest.Rows})...))
	if !errors.Is(err, errSilent) || sink.IsPermanent(err) {
		t.Errorf("apply gives %v", err)
	}
	if d := time.Since(begun); d > 5*time.Second {
		t.Errorf("giving up took %v", d)
	}
}

func TestUnreachableServer(t *testing.T) {
	s := &stream{cfg: Config{URL: "nats://tidemark:hunter2@127.0.0.1:1"}, log: &records{}}
	k := s.sink(t)
	_, err := k.Open(t.Context())
	if err == nil || sink.IsPermanent(err) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("open gives %v", err)
	}
	if _, err := k.Apply(t.Context(), nil); err == nil {
		t.Error("a sink that is not open applies")
	}
	if err := k.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestKilledServerAndCutConnections runs a Runner over a journal that grows, while the server is killed and connections
// are cut at random moments. Afterwards an independent consumer folds the stream.
func TestKilledServerAndCutConnections(t *testing.T) {
	p := startProcess(t)
	x := startProxy(t, p.port)
	s := newStream(t, p.url())
	s.cfg.URL = x.url()
	j := sinktest.NewJournal(sinktest.Rows.Define(), sinktest.Own.Define(), sinktest.Other.Define())
	board := progress.New()
	r, err := sink.New(sink.Config{Name: "nats", Sink: s.sink(t), Open: j.Open, Board: board, BatchFrames: 50,
		Log: slog.New(s.log), Backoff: sink.Backoff{Min: 10 * time.Millisecond, Max: 200 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()

	const rounds, perRound = 9, 150
	rnd := rand.New(rand.NewPCG(1, 2))
	var want []position.Position
	end := position.LSN(0x1000)
	for round := range rounds {
		for range perRound {
			end += 0x10
			f := tx(end, parts(rnd)...)
			j.Append(f...)
			want = append(want, wanted(f)...)
		}
		time.Sleep(time.Duration(rnd.IntN(30)) * time.Millisecond)
		switch round % 3 {
		case 0:
			x.cut()
		case 1:
			x.setDeaf(true)
			time.Sleep(time.Duration(rnd.IntN(20)) * time.Millisecond)
			x.cut()
			x.setDeaf(false)
		case 2:
			p.kill(t)
			p.start(t)
		}
	}
	waitCovered(t, board, r, end)
	cancel()
	if err := <-done; err != nil {
		t.Errorf("runner: %v", err)
	}
	got := s.fold(t)
	if !slices.Equal(got, want) {
		t.Errorf("stream folds to %d rows, want %d; first difference at %d", len(got), len(want), differ(got, want))
	}
	if n := strings.Count(strings.Join(s.log.all(), "\n"), "sink starts over"); n < rounds/2 {
		t.Errorf("only %d disturbances were felt", n)
	}
}

func parts(rnd *rand.Rand) []sinktest.Part {
	tables := []sinktest.Table{sinktest.Rows, sinktest.Rows, sinktest.Other, sinktest.Own}
	out := make([]sinktest.Part, 1+rnd.IntN(2))
	for i := range out {
		for range 1 + rnd.IntN(4) {
			out[i] = append(out[i], tables[rnd.IntN(len(tables))])
		}
	}
	return out
}

func wanted(frames []segment.Frame) []position.Position {
	var out []position.Position
	for _, f := range frames {
		ordinal := f.Ordinal
		for m := range segment.Messages(f.Payload) {
			if binary.BigEndian.Uint32(m[1:]) != sinktest.Own.ID {
				out = append(out, position.Position{End: f.End, Ordinal: ordinal})
			}
			ordinal++
		}
	}
	return out
}

func waitCovered(t *testing.T, board *progress.Board, r *sink.Runner, end position.LSN) {
	t.Helper()
	limit := time.After(90 * time.Second)
	for {
		changed := board.Changed()
		m, _ := board.Get("nats")
		if m.Covered == end {
			return
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("runner stands at %+v of %s, state %+v", m, end, r.State())
		}
	}
}

func differ(a, b []position.Position) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// fold reads the stream as a subscriber does: rows become visible with their transaction's marker, whose counts they
// must match. Each row says in its key which position it is.
func (s *stream) fold(t *testing.T) []position.Position {
	t.Helper()
	st, err := s.js.Stream(t.Context(), "TIDEMARK")
	if err != nil {
		t.Fatal(err)
	}
	c, err := st.OrderedConsumer(t.Context(), jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	info, err := st.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var folded, open []position.Position
	counts := map[string]uint32{}
	for seq := uint64(0); seq < info.State.LastSeq; {
		batch, err := c.Fetch(500, jetstream.FetchMaxWait(time.Second))
		if err != nil {
			t.Fatal(err)
		}
		for m := range batch.Messages() {
			meta, _ := m.Metadata()
			seq = meta.Sequence.Stream
			e, err := event.Parse(m.Data())
			if err != nil {
				t.Fatal(err)
			}
			if e.Op != event.OpCommit {
				if key := string(e.Key["position"]); key != fmt.Sprintf("%q", e.Position.Position()) {
					t.Fatalf("message %d at %v holds the row %s", seq, e.Position.Position(), key)
				}
				open = append(open, e.Position.Position())
				counts[e.Schema+"."+e.Table]++
				continue
			}
			for table, ops := range e.Tables {
				if counts[table] != ops["insert"] {
					t.Fatalf("marker of %s counts %v in %s, and %d came", e.Position.LSN, ops, table, counts[table])
				}
				delete(counts, table)
			}
			if len(counts) != 0 {
				t.Fatalf("marker of %s does not count %v", e.Position.LSN, counts)
			}
			folded, open = append(folded, open...), open[:0]
		}
	}
	if len(open) != 0 {
		t.Errorf("stream ends with %d rows without a marker", len(open))
	}
	return folded
}

// TestTwoRunners lets two services publish the same journal into one stream, as after a botched fail-over. They take the
// stream from each other, and put different idle markers into it; still each row is stored once and in order.
func TestTwoRunners(t *testing.T) {
	s := newStream(t, startProcess(t).url())
	s.cfg.IdleMarker = time.Nanosecond
	j := sinktest.NewJournal(sinktest.Rows.Define(), sinktest.Own.Define(), sinktest.Other.Define())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	boards := []*progress.Board{progress.New(), progress.New()}
	var runner *sink.Runner
	for _, board := range boards {
		r, err := sink.New(sink.Config{Name: "nats", Sink: s.sink(t), Open: j.Open, Board: board, BatchFrames: 7,
			Tick: time.Millisecond, IdleTick: time.Millisecond, Log: slog.New(s.log),
			Backoff: sink.Backoff{Min: time.Millisecond, Max: 10 * time.Millisecond}})
		if err != nil {
			t.Fatal(err)
		}
		runner = r
		go func() { done <- r.Run(ctx) }()
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	var want []position.Position
	end := position.LSN(0x1000)
	for range 500 {
		end += 0x10
		f := tx(end, parts(rnd)...)
		j.Append(f...)
		want = append(want, wanted(f)...)
		time.Sleep(time.Duration(rnd.IntN(300)) * time.Microsecond)
	}
	for _, board := range boards {
		waitCovered(t, board, runner, end)
	}
	cancel()
	for range boards {
		if err := <-done; err != nil {
			t.Errorf("runner: %v", err)
		}
	}
	if got := s.fold(t); !slices.Equal(got, want) {
		t.Errorf("stream folds to %d rows, want %d; first difference at %d", len(got), len(want), differ(got, want))
	}
	if !strings.Contains(strings.Join(s.log.all(), "\n"), errSequence.Error()) {
		t.Error("the two never met")
	}
}
