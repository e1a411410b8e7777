package check

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tidemark/internal/position"

	"tidemark/integration/checker/fold"
)

// TestArchived makes an archive and a journal with the program itself, and then bends what they are compared with.
func TestArchived(t *testing.T) {
	a := newArchived(t)
	published, changes := 0, 0
	for _, tx := range a.history {
		if tx.Published {
			published++
		}
		changes += len(tx.Changes)
	}
	inverted := inversions(a.timeline(t, nil).Transactions(0, a.end))
	t.Logf("%d transactions, %d of them published, %d changes, %d inversions", len(a.history), published, changes, len(inverted))
	t.Run("restore", a.testRestore)
	t.Run("wrong restores", a.testWrongRestores)
	t.Run("unreachable", a.testUnreachable)
	t.Run("journal", a.testJournal)
	t.Run("wrong journals", a.testWrongJournals)
	t.Run("damaged journals", a.testDamagedJournals)
	t.Run("hanging restores", a.testHanging)
	t.Run("trace", a.testTrace)
}

func (a *archived) testRestore(t *testing.T) {
	r := a.restore(t)
	l, err := r.list(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range weights {
		j := job{target: r.target(w.kind, l, a.covered), before: l, covered: a.covered}
		if out, err := r.settled(t.Context(), j); err != nil {
			t.Errorf("%s: at %s, %v", j.target, out.at, err)
		}
	}
	if n := r.Counts(); n["refused"] < 1 || n[kindEnd] != 1 || n[kindLatest] < 1 {
		t.Errorf("counts are %v", n)
	}
	for range 2 {
		if err := r.Check(t.Context(), a.covered); err != nil {
			t.Error(err)
		}
	}
	left := 0
	admin := connectTo(t, r.AdminURL)
	if err := admin.QueryRow(t.Context(), "select count(*) from pg_database where datname like 'restored%'").Scan(&left); err != nil || left > 0 {
		t.Errorf("%d databases are left, %v", left, err)
	}
}

// middle is a transaction between the two bases that changes s.keyed.
func (a *archived) middle(t *testing.T, l listing) fold.Transaction {
	t.Helper()
	for i, tx := range slices.Backward(a.history) {
		// Behind it, and at its own commit time, must be others.
		if i > 0 && tx.End < l.Bases[1].LSN && tx.End > l.Bases[0].LSN && len(tx.Changes) > 0 && tx.Changes[0].Table == "s.keyed" {
			return tx
		}
	}
	t.Fatal("there is no transaction between the bases")
	return fold.Transaction{}
}

// says replaces what the program prints, without running it.
func says(run Command, verb string, code int, stdout, stderr string) Command {
	return func(ctx context.Context, args ...string) (int, string, string, error) {
		if args[0] == verb {
			return code, stdout, stderr, nil
		}
		return run(ctx, args...)
	}
}

// testWrongRestores looks at two restored databases as if they had been made for something else, or were damaged.
func (a *archived) testWrongRestores(t *testing.T) {
	r := a.restore(t)
	r.Truth = a.truth()
	l, err := r.list(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	middle := a.middle(t, l)
	byLSN, byTime := target{kind: kindEnd, lsn: middle.End}, target{kind: kindTime, time: middle.Commit, zone: time.UTC}
	below, beyond := target{kind: kindBelow, lsn: l.Bases[0].LSN - 1}, target{kind: kindBeyond, lsn: l.top() + 1<<30}
	bend := func(change func(tx *fold.Transaction, sums map[string]fold.Sum)) *fold.Timeline {
		return a.timeline(t, func(tx *fold.Transaction, sums map[string]fold.Sum) bool {
			if tx.End == middle.End {
				change(tx, sums)
			}
			return tx.XID != 0
		})
	}
	later := func(d time.Duration) *fold.Timeline {
		return bend(func(tx *fold.Transaction, _ map[string]fold.Sum) { tx.Commit = tx.Commit.Add(d) })
	}
	const same = ""
	atMiddle, atEnd := a.restored(t, r, byLSN), a.restored(t, r, target{kind: kindLatest})
	for name, c := range map[string]struct {
		target   target
		timeline *fold.Timeline
		made     restored
		want     string
	}{
		"right":            {byLSN, nil, atMiddle, same},
		"right by time":    {byTime, nil, atMiddle, same},
		"right to the end": {target{kind: kindLatest}, nil, atEnd, same},
		"other rows": {byLSN, bend(func(_ *fold.Transaction, sums map[string]fold.Sum) {
			sums["s.keyed"] = fold.Sum{Rows: sums["s.keyed"].Rows, Hash: sums["s.keyed"].Hash + 1}
		}), atMiddle, "rows with other contents"},
		"one transaction too many": {byLSN, bend(func(tx *fold.Transaction, _ map[string]fold.Sum) { tx.XID = 0 }), atMiddle, "transactions, there are"},
		"one change too few":       {byLSN, bend(func(tx *fold.Transaction, _ map[string]fold.Sum) { tx.Changes = append(tx.Changes, tx.Changes[0]) }), atMiddle, "changes, there are"},
		"too much":                 {byTime, later(time.Hour), atMiddle, "does not belong to it"},
		"clock":                    {byTime, later(-time.Hour), atMiddle, "inversions of commit times"},
		"another target":           {byLSN, nil, atEnd, "behind the target"},
		"a time too late":          {byTime, nil, atEnd, "does not belong to it"},
		"not the end":              {target{kind: kindLatest}, nil, atMiddle, "belongs to it and is missing"},
		"the newest time":          {target{kind: kindTime, time: l.latest(), zone: time.UTC}, nil, atMiddle, "belongs to it and is missing"},
		"before the base":          {below, nil, atMiddle, "it succeeded, but the archive covers"},
		"behind the end":           {beyond, nil, atEnd, "it succeeded, but the archive covers"},
		"a time behind it":         {target{kind: kindBeyond, time: l.latest().Add(time.Microsecond), zone: time.UTC}, nil, atEnd, "it succeeded, but the archive covers"},
		"no report":                {byLSN, nil, restored{stdout: "restored"}, "no report"},
		"wrong time":               {byLSN, nil, atMiddle.edit(`"time": "20`, `"time": "19`), "the last transaction committed at"},
		"wrong LSN":                {byLSN, nil, atMiddle.edit(`"lsn": "`+middle.End.String(), `"lsn": "`+(middle.End-1).String()), "belongs to it and is missing"},
		"behind the archive":       {target{kind: kindLatest}, nil, atEnd.edit(`"lsn": "0/`, `"lsn": "1/`), "context canceled"},
	} {
		r.Timeline = a.timeline(t, nil)
		if c.timeline != nil {
			r.Timeline = c.timeline
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if name == "behind the archive" { // where the reference log does not get
			cancel()
		}
		at, _, err := r.verify(ctx, job{target: c.target, before: l, covered: a.covered}, c.made.db, c.made.stdout)
		cancel()
		if (c.want == same) != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: at %s: %v", name, at, err)
		}
	}
	a.testDamage(t, r, job{target: byLSN, before: l, covered: a.covered}, atMiddle)
}

// restored is a database that a restore made, and what it printed.
type restored struct {
	db     database
	stdout string
}

func (m restored) edit(before, after string) restored {
	m.stdout = strings.Replace(m.stdout, before, after, 1)
	return m
}

func (a *archived) restored(t *testing.T, r *Restore, to target) restored {
	t.Helper()
	db, err := r.create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.drop(context.Background(), db) })
	return restored{db, a.must(t, append([]string{"restore", "--archive", a.archive, "--target", db.url, "--json"}, to.args()...)...)}
}

// testDamage damages a restored database, and goes on with the damage before.
func (a *archived) testDamage(t *testing.T, r *Restore, j job, made restored) {
	r.Timeline = a.timeline(t, nil)
	conn := connectTo(t, made.db.url)
	for _, c := range []struct{ damage, repair, want string }{
		{"insert into s.keyed values (-1, 'x')", "delete from s.keyed where id = -1", `key "2:-1" is too many`},
		{"insert into s.\"Fu.ll\" values (-1)", "delete from s.\"Fu.ll\" where a = -1", `s.Fu.ll has`},
		{"update tidemark.progress set commit_time = commit_time + interval '1 second'", "update tidemark.progress set commit_time = commit_time - interval '1 second'", "commit time is not that of transaction"},
		{"update tidemark.progress set end_lsn = '0/1'", "", "the progress row is at 0/1"},
		{"delete from tidemark.progress", "", "tidemark.progress: it has 0 rows"},
		{"insert into tidemark.progress (stream, end_lsn, commit_time) values ('x', '" + j.lsn.String() + "', null); drop table s.keyed", "", "does not exist"},
	} {
		statements(t, conn, c.damage)
		if _, _, err := r.verify(t.Context(), j, made.db, made.stdout); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.damage, err)
		}
		if c.repair != "" {
			statements(t, conn, c.repair)
		}
	}
	if touched, err := made.db.touched(t.Context()); err != nil || !touched {
		t.Errorf("it is touched: %v, %v", touched, err)
	}
}

func (a *archived) truth() Truth {
	return func(table string, at position.LSN) (map[string]uint64, error) {
		state := fold.NewState(archivedTables)
		for _, tx := range a.history {
			if tx.End <= at {
				if _, err := state.Apply(tx); err != nil {
					return nil, err
				}
			}
		}
		return state.Rows(table), nil
	}
}

// testUnreachable: what fails while the archive cannot be reached is no Violation, and what fails once neither.
func (a *archived) testUnreachable(t *testing.T) {
	r := a.restore(t)
	run := r.Command
	l, err := r.list(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	j := job{target: target{kind: kindEnd, lsn: a.middle(t, l).End}, before: l, covered: a.covered}
	for name, c := range map[string]struct {
		fails    int
		healthy  bool
		violated bool
	}{"once": {1, true, false}, "always": {100, true, true}, "away": {100, false, false}} {
		for verb, do := range map[string]func() error{
			"restore": func() error { _, err := r.settled(t.Context(), j); return err },
			"archive": func() error { _, err := r.list(t.Context()); return err },
		} {
			calls := 0
			r.Command = func(ctx context.Context, args ...string) (int, string, string, error) {
				if calls++; args[0] == verb && calls <= c.fails {
					return 1, "", "dial tcp: connection refused", nil
				}
				return run(ctx, args...)
			}
			r.Healthy = func() bool { return c.healthy }
			err := do()
			var v *Violation
			if errors.As(err, &v) != c.violated || (err == nil) != (c.fails == 1) {
				t.Errorf("%s fails %s: %v", verb, name, err)
			}
		}
	}
	r.Healthy = nil
	for want, code := range map[string]int{"exit code 1": 1, "exit code 2": 2} {
		r.Command = says(run, "restore", code, "", "restore target cannot be reached")
		if _, err := r.settled(t.Context(), j); !violates(err, want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
	for listing, want := range map[string]string{
		`{"bases": [{"lsn": "0/1"}], "holes": ["7 is missing"]}`:                   "the archive has 1 holes",
		`{"bases": [{"lsn": "0/1"}], "bad_bases": [{"key": "base/1"}]}`:            "base base/1 cannot be used",
		`{"bases": [{"lsn": "0/1"}], "ranges": [{"after": "0/0", "last": "0/2"}]}`: "it ends at 0/2, status said",
		`{`: "archive ls: ",
	} {
		r.Command = says(run, "archive", 0, listing, "")
		if err := r.Check(t.Context(), a.covered); !violates(err, want) {
			t.Errorf("%s: %v", listing, err)
		}
	}
	r.Command = says(run, "archive", 0, `{"bases": []}`, "")
	if err := r.Check(t.Context(), a.covered); !violates(err, "the archive lost its bases") {
		t.Errorf("without the bases that were there: %v", err)
	}
	r = a.restore(t)
	r.Command = says(run, "archive", 0, `{"bases": []}`, "")
	if err := r.Check(t.Context(), a.covered); !errors.Is(err, ErrNoBase) {
		t.Errorf("without a base: %v", err)
	}
	r.MustHaveBase = true
	if err := r.Check(t.Context(), a.covered); !violates(err, "the archive lost its bases") {
		t.Errorf("without the base that must be there: %v", err)
	}
}

// testHanging: a command that takes all the time that there is, twice in a row, while nothing is in its way.
func (a *archived) testHanging(t *testing.T) {
	const limit = 2 * time.Second
	deadline := func() (context.Context, context.CancelFunc) { return context.WithTimeout(t.Context(), limit) }
	for name, c := range map[string]hanging{
		"restore": {verb: "restore", within: deadline, violated: true},
		"listing": {verb: "archive", within: deadline, violated: true},
		"between": {verb: "archive", within: deadline, between: true},
		"away":    {verb: "archive", within: deadline, healthy: func() bool { return false }},
		"away for a moment": {verb: "archive", within: deadline, healthy: func() func() bool {
			var looks atomic.Int64
			return func() bool { return looks.Add(1)%8 != 3 }
		}()},
		"cancelled": {verb: "archive", within: func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(limit, cancel)
			return context.WithTimeout(ctx, limit*3/2)
		}},
		"run ends": {verb: "archive", within: func() (context.Context, context.CancelFunc) {
			return context.WithTimeoutCause(t.Context(), limit, errors.New("the run ends"))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.verb == "archive" { // nothing runs before it, so time is not short
				t.Parallel()
			}
			c.test(t, a)
		})
	}
}

// hanging is a command that hangs in two Checks.
type hanging struct {
	verb     string
	within   func() (context.Context, context.CancelFunc)
	healthy  func() bool
	between  bool // comes a Check that ends
	violated bool // at the second
}

func (h hanging) test(t *testing.T, a *archived) {
	r, run, hangs := a.restore(t), a.command(t), true
	r.Healthy = h.healthy
	r.Command = func(ctx context.Context, args ...string) (int, string, string, error) {
		if args[0] == h.verb && hangs {
			<-ctx.Done()
			return -1, "", "", ctx.Err()
		}
		return run(ctx, args...)
	}
	for n := range 2 {
		if hangs = !(h.between && n > 0); !hangs {
			if err := r.Check(t.Context(), a.covered); err != nil {
				t.Error(err)
			}
			hangs = true
		}
		ctx, cancel := h.within()
		err := r.Check(ctx, a.covered)
		cancel()
		if got := violates(err, h.verb+" did not end within"); err == nil || got != (h.violated && n > 0) || isViolation(err) != got {
			t.Errorf("check %d: %v", n, err)
		}
	}
}

func isViolation(err error) bool { return violates(err, "") }

// TestPick: every kind of target is chosen, and what is chosen has its form.
func TestPick(t *testing.T) {
	l := fold.NewTimeline(standbyTables)
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i := range 1000 {
		tx := fold.Transaction{End: position.LSN(1000 + 100*i), Published: i%3 > 0, Commit: at.Add(time.Duration(i/2*2-i%7/6*5) * time.Millisecond)}
		if err := l.Add(tx, nil); err != nil {
			t.Fatal(err)
		}
	}
	r := &Restore{Timeline: l, Rand: newRand(7)}
	ls := listing{Bases: []listedBase{{LSN: 10_050, Time: at.Add(10 * time.Millisecond)}, {LSN: 40_000, Time: at.Add(390 * time.Millisecond)}}}
	ls.Ranges = append(ls.Ranges, listedRange{Last: 90_000, To: at.Add(900 * time.Millisecond)})
	kinds := map[string]int{}
	reach, refuse := map[string]int{}, map[string]int{}
	for range 5000 {
		j := job{target: r.pick(ls, 80_000), before: ls, covered: 80_000}
		kinds[j.kind]++
		must, never := r.mustReach(j), r.mustRefuse(j, ls)
		if must && never {
			t.Fatalf("%s must be both", j.target)
		}
		if must {
			reach[j.kind]++
		}
		if never {
			refuse[j.kind]++
		}
	}
	for _, w := range weights {
		if kinds[w.kind] == 0 {
			t.Errorf("never chosen: %s", w.kind)
		}
	}
	if n := refuse[kindBeyond]; n != kinds[kindBeyond] {
		t.Errorf("%d of %d behind the archive are refused", n, kinds[kindBeyond])
	}
	if reach[kindEnd] != kinds[kindEnd] || reach[kindLatest] != kinds[kindLatest] || refuse[kindEnd] > 0 {
		t.Errorf("reachable are %v, not %v", reach, refuse)
	}
	if refuse[kindBelow] == 0 || reach[kindBelow] > 0 {
		t.Errorf("before the base reachable are %v, not %v", reach, refuse)
	}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		t.Logf("%s: %d, reachable %d, not %d", kind, kinds[kind], reach[kind], refuse[kind])
	}
}
