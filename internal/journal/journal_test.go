package journal_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tidemark/internal/journal"
	"tidemark/internal/position"
	"tidemark/internal/progress"
	"tidemark/internal/segment"
	"tidemark/internal/vfs"
	"tidemark/internal/vfs/crashfs"
)

func TestEmpty(t *testing.T) {
	fs := crashfs.New()
	if _, err := journal.OpenReadOnly(fs, dir); !errors.Is(err, journal.ErrEmpty) {
		t.Errorf("view of nothing: %v", err)
	}
	j, b := mustOpen(t, fs, small())
	if m, ok := b.Get(progress.Journal); !ok || m.Stored != start || j.End() != start || j.Oldest() != start {
		t.Errorf("board says %+v, %v; end %s, oldest %s", m, ok, j.End(), j.Oldest())
	}
	r, err := j.Read(0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if r.Ready() {
		t.Error("reader of an empty journal is ready")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := r.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("next: %v", err)
	}
}

// A reader opened behind every transaction, while open and after reopening, sees exactly what follows; so does a View.
func TestReadFromEverywhere(t *testing.T) {
	const n = 120
	fs := crashfs.New()
	cfg := small()
	cfg.SegmentSize = 4 << 10
	j, b := mustOpen(t, fs, cfg)
	mustAdd(t, j, 1, n)
	mustAwait(t, j, b, n)
	if len(j.Segments()) < 4 {
		t.Fatalf("%d segments", len(j.Segments()))
	}
	check := func(j source, until func(*journal.Reader) bool) {
		t.Helper()
		for i := 0; i <= n; i++ {
			if last, err := content(j, i, until); err != nil || last != n {
				t.Fatalf("behind transaction %d: up to %d, %v", i, last, err)
			}
		}
		for _, after := range []position.LSN{start - 1, 1} {
			if _, err := j.Read(after); !errors.Is(err, journal.ErrGap) {
				t.Errorf("behind %s: %v", after, err)
			}
		}
		if _, err := j.Read(end(n) + 1); !errors.Is(err, journal.ErrAhead) {
			t.Errorf("ahead: %v", err)
		}
		// A position between two transactions' ends is as good.
		if r, err := j.Read(end(5) + 3); err != nil {
			t.Error(err)
		} else {
			if last, err := drain(r, 6, until); err != nil || last != n {
				t.Errorf("between: up to %d, %v", last, err)
			}
			_ = r.Close()
		}
	}
	check(j, notReady)
	v, err := journal.OpenReadOnly(fs, dir)
	if err != nil {
		t.Fatal(err)
	}
	check(v, func(*journal.Reader) bool { return false })
	if v.Identity() != id || v.End() != end(n) || v.Oldest() != start {
		t.Errorf("view of %+v from %s to %s", v.Identity(), v.Oldest(), v.End())
	}
	if err := j.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	j, b = mustOpen(t, fs, cfg)
	if m, _ := b.Get(progress.Journal); m.Stored != end(n) || m.Time != position.Time(n)*1000 {
		t.Errorf("reopened at %+v", m)
	}
	check(j, notReady)
	mustAdd(t, j, n+1, n+5)
	mustAwait(t, j, b, n+5)
	if last, err := content(j, 0, notReady); err != nil || last != n+5 {
		t.Errorf("up to %d, %v", last, err)
	}
	if err := verify(fs); err != nil {
		t.Error(err)
	}
}

func TestSegments(t *testing.T) {
	fs := crashfs.New()
	j, b := mustOpen(t, fs, small())
	mustAdd(t, j, 1, 40)
	mustAwait(t, j, b, 40)
	live := j.Segments()
	v, err := journal.OpenReadOnly(fs, dir)
	if err != nil {
		t.Fatal(err)
	}
	var bytes int64
	after := start
	for i, s := range live {
		if got := v.Segments()[i]; got != live[i] {
			t.Errorf("segment %d is %+v, the view says %+v", i, live[i], got)
		}
		if s.After != after || s.Sealed != (i < len(live)-1) || s.Bytes != int64(len(fs.Content(filepath.Join(dir, s.Name)))) {
			t.Errorf("segment %d is %+v", i, s)
		}
		after, bytes = s.Last, bytes+s.Bytes
	}
	if after != end(40) || bytes != j.Bytes() || bytes != v.Bytes() {
		t.Errorf("segments end at %s with %d bytes; the journal has %d, the view %d", after, bytes, j.Bytes(), v.Bytes())
	}
}

func TestDiscard(t *testing.T) {
	fs := crashfs.New()
	j, b := mustOpen(t, fs, small())
	mustAdd(t, j, 1, 2)
	if err := j.Discard(); err != nil {
		t.Errorf("discard of nothing: %v", err)
	}
	open := transaction(3)
	for range 3 {
		for _, a := range open[:2] {
			if err := j.Append(a); err != nil {
				t.Fatal(err)
			}
		}
		if err := j.Append(transaction(4)[0]); !errors.Is(err, segment.ErrInvalid) {
			t.Errorf("another transaction within one: %v", err)
		}
		if err := j.Discard(); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Append(transaction(2)[0]); !errors.Is(err, segment.ErrInvalid) {
		t.Errorf("a transaction again: %v", err)
	}
	mustAdd(t, j, 3, 10)
	mustAwait(t, j, b, 10)
	if last, err := content(j, 0, notReady); err != nil || last != 10 {
		t.Errorf("up to %d, %v", last, err)
	}
	if err := verify(fs); err != nil {
		t.Error(err)
	}
}

func TestIdentity(t *testing.T) {
	fs := crashfs.New()
	j, b := mustOpen(t, fs, small())
	mustAdd(t, j, 1, 3)
	mustAwait(t, j, b, 3)
	if err := j.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, j.Segments()[len(j.Segments())-1].Name)
	torn := append(fs.Content(name), "torn"...)
	fs.SetContent(name, torn)
	for what, bend := range map[string]func(i *journal.Identity){
		"system identifier": func(i *journal.Identity) { i.SystemID = "1" },
		"database":          func(i *journal.Identity) { i.Database = "other" },
		"slot tidemark":     func(i *journal.Identity) { i.Slot = "other" },
		"slot generation":   func(i *journal.Identity) { i.Generation = 0x2000 },
		"timeline":          func(i *journal.Identity) { i.Timeline = 0 },
	} {
		other := id
		bend(&other)
		_, err := journal.Open(fs, small(), other, start, nil, nil, quiet())
		if !errors.Is(err, journal.ErrIdentity) || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if string(fs.Content(name)) != string(torn) {
		t.Error("a refused open changed the journal")
	}
	// A later timeline, and an unknown generation, are welcome; the next transaction opens a segment that says so.
	later := id
	later.Timeline, later.Generation = 2, 0
	j, err := journal.Open(fs, small(), later, start, nil, nil, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.Close(context.Background()) }()
	if j.Identity().Generation != id.Generation {
		t.Errorf("identity is %+v", j.Identity())
	}
	before := len(j.Segments())
	mustAdd(t, j, 4, 5)
	if got := len(j.Segments()); got != before+1 {
		t.Errorf("%d segments, then %d", before, got)
	}
	v, err := journal.OpenReadOnly(fs, dir)
	if err != nil || v.Identity().Timeline != 2 {
		t.Fatalf("%v, %v", v, err)
	}
	if _, err := v.Verify(context.Background()); err != nil {
		t.Error(err)
	}
}

// A journal that began before the generation was written down goes on when it is known later.
func TestGenerationBecomesKnown(t *testing.T) {
	fs := crashfs.New()
	unknown := id
	unknown.Generation = 0
	for _, as := range []journal.Identity{unknown, id} {
		j, err := journal.Open(fs, small(), as, start, nil, nil, quiet())
		if err != nil {
			t.Fatal(err)
		}
		n := int(j.End()-start) / 0x10
		mustAdd(t, j, n+1, n+30)
		if err := j.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if err := verify(fs); err != nil {
		t.Error(err)
	}
}

func TestLockAndRealFiles(t *testing.T) {
	cfg := small()
	cfg.Dir = filepath.Join(t.TempDir(), "deep", "journal")
	reg := prometheus.NewRegistry()
	j, err := journal.Open(vfs.OS{}, cfg, id, start, nil, reg, quiet())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := journal.Open(vfs.OS{}, cfg, id, start, nil, nil, quiet()); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	mustAdd(t, j, 1, 50)
	if err := j.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(context.Background()); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	if err := j.Append(transaction(51)[0]); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("append behind close: %v", err)
	}
	if _, err := j.Read(0); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("read behind close: %v", err)
	}
	j, err = journal.Open(vfs.OS{}, cfg, id, start, nil, reg, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.Close(context.Background()) }()
	if last, err := content(j, 0, notReady); err != nil || last != 50 {
		t.Errorf("up to %d, %v", last, err)
	}
	checkMetrics(t, reg, j.Bytes())
}

func checkMetrics(t *testing.T, reg *prometheus.Registry, bytes int64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, f := range families {
		switch f.GetName() {
		case "tidemark_journal_bytes":
			seen++
			if got := f.GetMetric()[0].GetGauge().GetValue(); got != float64(bytes) {
				t.Errorf("%s is %v, want %d", f.GetName(), got, bytes)
			}
		case "tidemark_journal_fsync_duration_seconds":
			seen++
			if f.GetMetric()[0].GetHistogram().GetSampleCount() == 0 {
				t.Errorf("%s saw no fsync", f.GetName())
			}
		}
	}
	if seen != 2 {
		t.Errorf("%d metrics", seen)
	}
}

func TestRetain(t *testing.T) {
	fs := crashfs.New()
	j, b := mustOpen(t, fs, small())
	mustAdd(t, j, 1, 60)
	mustAwait(t, j, b, 60)
	all := j.Segments()
	old := time.Now().Add(2 * time.Hour)
	names := func() int {
		list, err := fs.Names(dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	for what, try := range map[string]func() error{
		"young":      func() error { return j.Retain(end(60), time.Now()) },
		"clock back": func() error { return j.Retain(end(60), time.Now().Add(-time.Hour)) },
		"floor 0":    func() error { return j.Retain(0, old) },
		"in use":     func() error { return j.Retain(all[0].Last-1, old) },
	} {
		if err := try(); err != nil || names() != len(all) {
			t.Errorf("%s: %d of %d segments left, %v", what, names(), len(all), err)
		}
	}
	r, err := j.Read(all[1].After) // stands in the second segment
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Retain(end(60), old); err != nil || names() != len(all)-1 || j.Oldest() != all[1].After {
		t.Errorf("%d of %d segments left, oldest %s, %v", names(), len(all), j.Oldest(), err)
	}
	n := int(all[1].After-start) / 0x10
	if last, err := drain(r, n+1, notReady); err != nil || last != 60 {
		t.Errorf("reader under retention: up to %d, %v", last, err)
	}
	if err := j.Retain(end(60), old); err != nil || names() != 1 {
		t.Errorf("%d segments left, %v", names(), err) // the reader stands in the tail now
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Read(end(1)); !errors.Is(err, journal.ErrGap) {
		t.Errorf("read what is gone: %v", err)
	}
	mustAdd(t, j, 61, 80)
	mustAwait(t, j, b, 80)
	tail := all[len(all)-1]
	if last, err := content(j, int(tail.After-start)/0x10, notReady); err != nil || last != 80 {
		t.Errorf("up to %d, %v", last, err)
	}
	if err := verify(fs); err != nil {
		t.Error(err)
	}
}

// An fsync that failed is final, whether the disk took the bytes or not.
func TestBroken(t *testing.T) {
	broken := errors.New("input/output error")
	for _, persist := range []bool{false, true} {
		for _, op := range []crashfs.Op{crashfs.Sync, crashfs.SyncDir, crashfs.Write, crashfs.Truncate} {
			fs := crashfs.New()
			j, b := mustOpen(t, fs, small())
			mustAdd(t, j, 1, 3)
			mustAwait(t, j, b, 3)
			r, err := j.Read(end(3))
			if err != nil {
				t.Fatal(err)
			}
			fs.Inject(crashfs.Fault{Op: op, Nth: 1, Err: broken, Persist: persist})
			n := 4
			for ; err == nil && n < 40; n++ {
				if err = add(j, n, n); err == nil && op == crashfs.Sync {
					err = await(j, b, n)
				}
				if err == nil && op == crashfs.Truncate && n%3 == 0 {
					if err = j.Append(transaction(n + 3)[0]); err == nil {
						err = j.Discard()
					}
				}
			}
			if !errors.Is(err, journal.ErrBroken) || !errors.Is(err, broken) {
				t.Fatalf("%s: %v", op, err)
			}
			<-j.Failed()
			durable, _ := j.Durable()
			for what, err := range map[string]error{
				"append": j.Append(transaction(n)[0]), "discard": j.Discard(), "retain": j.Retain(0, time.Now()), "err": j.Err(),
				"close": j.Close(context.Background()),
			} {
				if !errors.Is(err, journal.ErrBroken) {
					t.Errorf("%s: %s gives %v", op, what, err)
				}
			}
			if _, err := drain(r, 4, func(*journal.Reader) bool { return false }); !errors.Is(err, journal.ErrBroken) {
				t.Errorf("%s: reader ends with %v", op, err)
			}
			_ = r.Close()
			if m, _ := b.Get(progress.Journal); m.Stored != durable {
				t.Errorf("%s: the board says %s, the journal %s", op, m.Stored, durable)
			}
			names := crashfs.Before
			if persist {
				names = crashfs.After
			}
			// A new process must not believe the cache, which still holds what the disk did not take.
			if err := killed(fs.Kill(), durable, n); err != nil {
				t.Errorf("%s: the next process: %v", op, err)
			}
			if err := examine(fs.Crash(crashfs.Mode{Names: names}), durable, n); err != nil {
				t.Errorf("%s: after a crash: %v", op, err)
			}
		}
	}
}
