package sink_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"tidemark/internal/position"
	"tidemark/internal/progress"
	"tidemark/internal/segment"
	"tidemark/internal/sink"
	"tidemark/internal/sink/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scripted is a sink whose target is a list of positions, and whose failures the test decides.
type scripted struct {
	held    []position.Position // complete and incomplete transactions, in order
	whole   sink.Reached        // what Apply and Open report
	hold    bool                // complete transactions wait for a tick
	openErr func() error
	apply   func(frames []segment.Frame) error

	opens, ticks atomic.Int32
	closes       int32
	given        int // frames
	ended        position.LSN
	batches      []int
}

func (s *scripted) Open(context.Context) (sink.Reached, error) {
	s.opens.Add(1)
	if s.openErr != nil {
		if err := s.openErr(); err != nil {
			return sink.Reached{}, err
		}
	}
	n := 0
	for n < len(s.held) && s.held[n].End <= s.whole.Stored {
		n++
	}
	s.held = s.held[:n]
	return s.whole, nil
}

func (s *scripted) Apply(_ context.Context, frames []segment.Frame) (sink.Reached, error) {
	if len(frames) == 0 {
		s.ticks.Add(1)
		s.whole = sink.Reached{Stored: s.ended, Covered: s.ended}
		return s.whole, nil
	}
	s.batches = append(s.batches, len(frames))
	if s.apply != nil {
		if err := s.apply(frames); err != nil {
			return sink.Reached{}, err
		}
	}
	for _, f := range frames {
		s.take(f)
	}
	if !s.hold {
		s.whole = sink.Reached{Stored: s.ended}
	}
	return s.whole, nil
}

func (s *scripted) take(f segment.Frame) {
	s.given++
	if f.Kind != segment.Part {
		return
	}
	n := uint32(0)
	for m, err := range segment.Messages(f.Payload) {
		p := position.Position{End: f.End, Ordinal: f.Ordinal + n}
		if err != nil || !bytes.Contains(m, []byte(p.String())) {
			panic(fmt.Sprintf("message of %s is spoiled: %v", p, err))
		}
		s.held = append(s.held, p)
		n++
	}
	if len(f.Meta) == 0 || f.Meta[0].Inserts == 0 {
		panic("meta block is spoiled")
	}
	if f.Last {
		s.ended = f.End
	}
}

func (s *scripted) Close(context.Context) error { s.closes++; return nil }

type bench struct {
	*sink.Runner
	board   *progress.Board
	journal *sinktest.Journal
	reg     *prometheus.Registry
	log     *bytes.Buffer
	done    chan error
	stop    context.CancelFunc
}

// start runs inside a synctest bubble: its time is the bubble's.
func start(t *testing.T, s sink.Sink, j *sinktest.Journal, change func(*sink.Config)) *bench {
	t.Helper()
	b := &bench{board: progress.New(), journal: j, reg: prometheus.NewRegistry(), log: &bytes.Buffer{}, done: make(chan error, 1)}
	cfg := sink.Config{Name: "standby", Sink: s, Open: j.Open, Board: b.board, Metrics: sink.NewMetrics(b.reg),
		Log: slog.New(slog.NewTextHandler(b.log, nil))}
	if change != nil {
		change(&cfg)
	}
	r, err := sink.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b.Runner = r
	ctx, cancel := context.WithCancel(t.Context())
	b.stop = cancel
	go func() { b.done <- r.Run(ctx) }()
	synctest.Wait()
	return b
}

func (b *bench) end(t *testing.T) {
	t.Helper()
	b.stop()
	if err := <-b.done; err != nil {
		t.Errorf("Run returned %v at shut-down", err)
	}
	if n := b.journal.Readers(); n != 0 {
		t.Errorf("%d journal readers stay open", n)
	}
}

func (b *bench) mark(t *testing.T, want progress.Mark) {
	t.Helper()
	synctest.Wait()
	if m, _ := b.board.Get("standby"); m != want {
		t.Errorf("board shows %+v, want %+v", m, want)
	}
}

func (b *bench) counter(t *testing.T, name, want string) {
	t.Helper()
	if err := testutil.GatherAndCompare(b.reg, strings.NewReader(want), name); err != nil {
		t.Error(err)
	}
}

func transactions(from, to int) []segment.Frame {
	frames := []segment.Frame{sinktest.Rows.Define()}
	for i := from; i <= to; i++ {
		frames = append(frames, sinktest.Transaction(position.LSN(i*100), sinktest.Part{sinktest.Rows, sinktest.Rows})...)
	}
	return frames
}

func markAt(i int) progress.Mark {
	l := position.LSN(i * 100)
	return progress.Mark{Stored: l, Covered: l, Time: position.Time(l) * 1000}
}

func TestBatchesKeepTheirFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{}
		b := start(t, s, sinktest.NewJournal(transactions(1, 10)...), func(c *sink.Config) { c.BatchFrames = 4 })
		b.mark(t, markAt(10))
		if want := "[4 4 3]"; fmt.Sprint(s.batches) != want {
			t.Errorf("batches of %v frames, want %v", s.batches, want)
		}
		b.journal.Append(transactions(11, 11)...)
		b.mark(t, markAt(11))
		b.counter(t, "tidemark_sink_applied_rows_total", `
			# HELP tidemark_sink_applied_rows_total Row changes of transactions that a copy holds completely.
			# TYPE tidemark_sink_applied_rows_total counter
			tidemark_sink_applied_rows_total{copy="standby"} 22
		`)
		if st := b.State(); st.Phase != sink.Running || st.Attempts != 0 {
			t.Errorf("state is %+v", st)
		}
		b.end(t)
	})
}

func TestBatchBytesBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{}
		b := start(t, s, sinktest.NewJournal(transactions(1, 3)...), func(c *sink.Config) { c.BatchBytes = 1 })
		b.mark(t, markAt(3))
		if want := "[1 1 1 1]"; fmt.Sprint(s.batches) != want {
			t.Errorf("batches of %v frames, want %v", s.batches, want)
		}
		b.end(t)
	})
}

func TestTicksOnlyWhilePending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{hold: true}
		j := sinktest.NewJournal(sinktest.Rows.Define())
		b := start(t, s, j, nil)
		s.ticks.Store(0)
		time.Sleep(2500 * time.Millisecond)
		synctest.Wait()
		if s.ticks.Load() != 2 {
			t.Errorf("%d ticks in 2.5 idle seconds, want 2", s.ticks.Load())
		}
		begun := time.Now()
		parts := sinktest.Transaction(100, sinktest.Part{sinktest.Rows}, sinktest.Part{sinktest.Rows})
		j.Append(parts[0])
		synctest.Wait()
		s.ticks.Store(0)
		time.Sleep(900 * time.Millisecond)
		synctest.Wait()
		if s.ticks.Load() != 0 {
			t.Errorf("%d ticks for a transaction that has not ended", s.ticks.Load())
		}
		b.mark(t, progress.Mark{})
		j.Append(parts[1])
		b.mark(t, markAt(1)) // the tick came at once: no time has passed since
		if got := time.Since(begun); got != 900*time.Millisecond {
			t.Errorf("time went on by %v", got)
		}
		b.end(t)
	})
}

func TestTransientErrorStartsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := 3
		s := &scripted{}
		s.apply = func(frames []segment.Frame) error {
			if fails == 0 || frames[len(frames)-1].End != 500 {
				return nil
			}
			fails--
			s.take(frames[0]) // part of the batch had an effect that the target takes back
			return errors.New("connection lost")
		}
		b := start(t, s, sinktest.NewJournal(transactions(1, 5)...), func(c *sink.Config) { c.BatchFrames = 2 })
		if st := b.State(); st.Phase != sink.Waiting || st.Reason == "" || st.Attempts != 1 {
			t.Errorf("state is %+v", st)
		}
		time.Sleep(time.Minute)
		b.mark(t, markAt(5))
		if len(s.held) != 10 || s.opens.Load() != 4 || s.closes != 3 {
			t.Errorf("holds %v after %d opens and %d closes", s.held, s.opens.Load(), s.closes)
		}
		b.counter(t, "tidemark_sink_errors_total", `
			# HELP tidemark_sink_errors_total Errors that made a sink start over (transient) or stop (permanent, gap).
			# TYPE tidemark_sink_errors_total counter
			tidemark_sink_errors_total{class="transient",copy="standby"} 3
		`)
		if n := strings.Count(b.log.String(), "sink starts over"); n != 2 {
			t.Errorf("%d log lines for 3 errors, of which two in a row were the same:\n%s", n, b.log)
		}
		b.end(t)
		if s.closes != s.opens.Load() {
			t.Errorf("%d opens, %d closes", s.opens.Load(), s.closes)
		}
	})
}

func TestBackoffGrowsAndResets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		s := &scripted{}
		s.openErr = func() error {
			if down.Load() {
				return errors.New("refused")
			}
			return nil
		}
		b := start(t, s, sinktest.NewJournal(transactions(1, 1)...), nil)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if s.opens.Load() < 15 || s.opens.Load() > 35 {
			t.Errorf("%d attempts in 5 minutes", s.opens.Load())
		}
		down.Store(false)
		time.Sleep(31 * time.Second)
		b.mark(t, markAt(1))
		if st := b.State(); st.Attempts != 0 || st.Phase != sink.Running {
			t.Errorf("state is %+v", st)
		}
		b.end(t)
	})
}

func TestPermanentErrorStops(t *testing.T) {
	for name, want := range map[string]error{"permanent": sink.Permanent(errors.New("duplicate key")), "gap": sink.ErrGap} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &scripted{}
				j := sinktest.NewJournal(transactions(1, 2)...)
				if name == "gap" {
					s.whole, s.ended = sink.Reached{Stored: 50}, 50
					j.Retain(60)
				} else {
					s.apply = func([]segment.Frame) error { return want }
				}
				b := start(t, s, j, nil)
				err := <-b.done
				if !errors.Is(err, errors.Unwrap(want)) && !errors.Is(err, want) || !sink.IsPermanent(err) {
					t.Errorf("Run returned %v, want %v", err, want)
				}
				if st := b.State(); st.Phase != sink.Stopped || st.Reason == "" || st.Name != "standby" {
					t.Errorf("state is %+v", st)
				}
				if s.opens.Load() != 1 || s.closes != 1 || strings.Count(b.log.String(), "level=ERROR") != 1 {
					t.Errorf("%d opens, %d closes, log:\n%s", s.opens.Load(), s.closes, b.log)
				}
				b.stop()
			})
		})
	}
}

func TestSinkThatPromisesTooMuchStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{}
		s.apply = func(frames []segment.Frame) error { s.ended = 999; return nil }
		parts := sinktest.Transaction(100, sinktest.Part{sinktest.Rows}, sinktest.Part{sinktest.Rows})
		b := start(t, s, sinktest.NewJournal(parts[0]), nil)
		if err := <-b.done; !sink.IsPermanent(err) {
			t.Errorf("Run returned %v for a position in an unfinished transaction", err)
		}
		b.mark(t, progress.Mark{})
		b.stop()
	})
}

func TestJournalOutOfOrderStops(t *testing.T) {
	for name, frames := range map[string][]segment.Frame{
		"back":  append(sinktest.Transaction(200, sinktest.Part{sinktest.Rows}), sinktest.Transaction(200, sinktest.Part{sinktest.Rows})...),
		"mixed": append(sinktest.Transaction(200, sinktest.Part{sinktest.Rows}, sinktest.Part{sinktest.Rows})[:1], sinktest.Transaction(300, sinktest.Part{sinktest.Rows})...),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := start(t, &scripted{}, sinktest.NewJournal(frames...), nil)
				if err := <-b.done; !sink.IsPermanent(err) {
					t.Errorf("Run returned %v", err)
				}
				b.stop()
			})
		})
	}
}

func TestTargetThatWentBackResetsTheBoard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{}
		fail := false
		var b *bench
		var reopened progress.Mark
		s.apply = func([]segment.Frame) error {
			if s.opens.Load() == 2 && reopened.Stored == 0 {
				reopened, _ = b.board.Get("standby")
			}
			if fail {
				fail = false
				s.whole, s.ended = sink.Reached{Stored: 100}, 100 // restored from an old backup
				return errors.New("connection lost")
			}
			return nil
		}
		b = start(t, s, sinktest.NewJournal(transactions(1, 3)...), nil)
		b.mark(t, markAt(3))
		fail = true
		b.journal.Append(transactions(4, 4)...)
		b.mark(t, markAt(3))
		time.Sleep(time.Second)
		b.mark(t, markAt(4))
		if reopened != (progress.Mark{Stored: 100, Covered: 100}) {
			t.Errorf("board showed %+v after the reopening, want what the target holds", reopened)
		}
		if !strings.Contains(b.log.String(), "target went back") {
			t.Errorf("log does not tell:\n%s", b.log)
		}
		b.end(t)
	})
}

func TestCloseIsBoundedAndHasItsOwnContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		s := &stuck{}
		b := start(t, s, sinktest.NewJournal(transactions(1, 1)...), nil)
		b.stop()
		if err := <-b.done; err != nil {
			t.Errorf("Run returned %v", err)
		}
		if d := time.Since(begun); d != 5*time.Second {
			t.Errorf("shut-down took %v, want the 5 s that Close may take", d)
		}
	})
}

// stuck never returns before its context ends.
type stuck struct{}

func (*stuck) Open(context.Context) (sink.Reached, error) { return sink.Reached{}, nil }
func (*stuck) Apply(ctx context.Context, _ []segment.Frame) (sink.Reached, error) {
	<-ctx.Done()
	return sink.Reached{}, ctx.Err()
}
func (*stuck) Close(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
