package archiver

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidemark/internal/archive"
	"tidemark/internal/objstore"
	"tidemark/internal/objstore/objstoretest"
	"tidemark/internal/objstore/s3/s3test"
	"tidemark/internal/postgres/pgtest"
	"tidemark/internal/restore"
)

// TestEndToEnd carries a real source's changes into an archive, takes bases in between, and restores to every
// moment that was taken down, by time, by LSN and to the end.
func TestEndToEnd(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) { endToEnd(t, major, newBucket(t), 6) })
}

func TestEndToEndS3(t *testing.T) {
	server := s3test.Start(t)
	endToEnd(t, 0, openBucket(t, server.Bucket(t)), 2)
}

func endToEnd(t *testing.T, major int, bucket objstore.Bucket, rounds int) {
	r := newRig(t, major, bucket)
	r.exec(t, "select nextval('ticket')")
	var moments []moment
	first := r.base(t)
	for i := range rounds {
		r.work(t, i)
		moments = append(moments, r.mark(t, "round "+string(rune('a'+i))))
		if i == rounds/2 {
			r.base(t)
		}
	}
	r.work(t, rounds)
	last := r.mark(t, "last")
	// One transaction more: an archive ends with a transaction, and last's LSN is behind one.
	r.exec(t, "create table public.later (id int)", "insert into wide values (-1, 'end', 0)")
	end := r.mark(t, "end")
	r.archived(t, end.lsn)
	r.stop()
	delete(end.rows, "public.later") // no rows were ever in it, and DDL is not replayed

	for i, m := range append(moments, last) {
		t.Run(nameOf(m), func(t *testing.T) {
			if i%2 == 0 {
				restoreTo(t, r, major, restore.Target{LSN: m.lsn}, m)
			} else {
				restoreTo(t, r, major, restore.Target{Time: m.time}, m)
			}
		})
	}
	t.Run("latest", func(t *testing.T) {
		report := restoreTo(t, r, major, restore.Target{Latest: true}, end)
		if report.Base == first.LSN || report.Transactions == 0 || report.Changes == 0 || report.BaseRows == 0 {
			t.Errorf("report is %+v", report)
		}
	})
	t.Run("refused", func(t *testing.T) {
		url := pgtest.Database(t, major)
		for name, target := range map[string]restore.Target{
			"too early": {Time: moments[0].time - 3600e6}, "too late": {Time: end.time + 3600e6}, "behind the end": {LSN: end.lsn + 1<<30},
		} {
			_, err := restore.To(t.Context(), bucket, target, url, restore.Options{}, r.log)
			if !errors.Is(err, restore.ErrUnreachable) || !strings.Contains(err.Error(), "the archive covers") {
				t.Errorf("%s: %v", name, err)
			}
			if got := contents(t, pgtest.Connect(t, url)); len(got) != 0 {
				t.Errorf("%s: target was touched: %d tables", name, len(got))
			}
		}
	})
}

func restoreTo(t *testing.T, r *rig, major int, target restore.Target, want moment) restore.Report {
	t.Helper()
	url := pgtest.Database(t, major)
	report, err := restore.To(t.Context(), r.bucket, target, url, restore.Options{}, r.log)
	if err != nil {
		t.Fatalf("restore to %s: %v", target, err)
	}
	conn := pgtest.Connect(t, url)
	if diff := cmp.Diff(want.rows, contents(t, conn)); diff != "" {
		t.Errorf("restore to %s differs (-source +restored):\n%s", target, diff)
	}
	// New rows must not meet old ones: every sequence is ahead, in its own direction.
	var free, ahead bool
	err = conn.QueryRow(t.Context(), `select nextval('account_id_seq') > (select max(id) from account)
		and nextval('payment_id_seq') > (select coalesce(max(id), 0) from payment), nextval('ticket') < 1000`).Scan(&free, &ahead)
	if err != nil || !free || !ahead {
		t.Errorf("restore to %s: sequences would repeat values: %v, %v, %v", target, free, ahead, err)
	}
	if report.LSN == 0 || report.Time.IsZero() {
		t.Errorf("report is %+v", report)
	}
	return report
}

// TestRestoreRefuses has a small archive and looks at what stops a restore, and what it leaves.
func TestRestoreRefuses(t *testing.T) {
	bucket := newBucket(t)
	r := newRig(t, 0, bucket)
	r.base(t)
	r.work(t, 1)
	good := r.mark(t, "good")
	r.exec(t, "create table public.later (id int primary key)", "alter publication tidemark add table public.later", "insert into later values (1)")
	bad := r.mark(t, "bad")
	r.archived(t, bad.lsn)
	r.stop()

	t.Run("not empty", func(t *testing.T) {
		url := pgtest.Database(t, 0)
		pgtest.Exec(t, url, "create table mine (id int)", "create schema other", "create table other.mine (id int)")
		if _, err := restore.To(t.Context(), bucket, restore.Target{LSN: good.lsn}, url, restore.Options{}, r.log); !errors.Is(err, restore.ErrNotEmpty) {
			t.Fatalf("restore: %v, want ErrNotEmpty", err)
		}
		for range 2 { // the second time over a restored database
			if _, err := restore.To(t.Context(), bucket, restore.Target{LSN: good.lsn}, url, restore.Options{Force: true}, r.log); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(good.rows, contents(t, pgtest.Connect(t, url))); diff != "" {
				t.Errorf("forced restore differs:\n%s", diff)
			}
		}
		if _, err := restore.To(t.Context(), bucket, restore.Target{LSN: good.lsn}, url, restore.Options{}, r.log); !errors.Is(err, restore.ErrNotEmpty) {
			t.Errorf("restore over a restored database: %v, want ErrNotEmpty", err)
		}
	})
	t.Run("the source itself", func(t *testing.T) {
		_, err := restore.To(t.Context(), bucket, restore.Target{LSN: good.lsn}, r.url, restore.Options{Force: true}, r.log)
		if err == nil || !strings.Contains(err.Error(), "the source itself") {
			t.Errorf("restore: %v", err)
		}
	})
	t.Run("a table made after the base", func(t *testing.T) {
		_, err := restore.To(t.Context(), bucket, restore.Target{Latest: true}, pgtest.Database(t, 0), restore.Options{}, r.log)
		if err == nil || !strings.Contains(err.Error(), "public.later, which is not in the base") || !strings.Contains(err.Error(), "ends at ") {
			t.Errorf("restore: %v, want an error that names table and LSN", err)
		}
	})
	for name, suffix := range map[string]string{"journal object": ".tms.zst", "rows": ".copy.zst", "schema": archive.SchemaPreName} {
		for kind, change := range map[string]func([]byte) []byte{
			"bent": func(b []byte) []byte { b[len(b)/2] ^= 1; return b }, "cut": func(b []byte) []byte { return b[:len(b)-1] }, "missing": nil,
		} {
			t.Run(kind+" "+name, func(t *testing.T) {
				faulty := objstoretest.NewFaulty(bucket)
				plan := planned(t, faulty, restore.Target{LSN: good.lsn})
				faulty.Bend(suffix, change)
				store := openStore(t, faulty)
				_, err := restore.Run(t.Context(), store, plan, pgtest.Database(t, 0), restore.Options{}, r.log)
				if err == nil || !strings.Contains(err.Error(), suffix) {
					t.Errorf("restore: %v, want an error that names the object", err)
				}
			})
		}
	}
	t.Run("a part of the base is gone", func(t *testing.T) {
		faulty := objstoretest.NewFaulty(bucket)
		faulty.Bend(".copy.zst", nil)
		url := pgtest.Database(t, 0)
		pgtest.Exec(t, url, "create table mine (id int)")
		_, err := restore.To(t.Context(), faulty, restore.Target{LSN: good.lsn}, url, restore.Options{Force: true}, r.log)
		if !errors.Is(err, archive.ErrHole) || len(contents(t, pgtest.Connect(t, url))) != 1 {
			t.Errorf("restore: %v, want ErrHole and the target as it was", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		url := pgtest.Database(t, 0)
		ctx, cancel := context.WithCancel(t.Context())
		_, err := restore.To(ctx, bucket, restore.Target{LSN: good.lsn}, url, restore.Options{Progress: func(string, int64, int64) { cancel() }}, r.log)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("restore: %v", err)
		}
		if _, err := restore.To(t.Context(), bucket, restore.Target{LSN: good.lsn}, url, restore.Options{}, r.log); !errors.Is(err, restore.ErrNotEmpty) {
			t.Errorf("a second try without force: %v, want ErrNotEmpty", err)
		}
		restored, err := restore.To(t.Context(), bucket, restore.Target{LSN: good.lsn}, url, restore.Options{Force: true, Jobs: 5}, r.log)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(good.rows, contents(t, pgtest.Connect(t, url))); diff != "" || restored.Seconds <= 0 {
			t.Errorf("restore after a cancelled one differs:\n%s", diff)
		}
	})
}

// TestSchemaAfterBase has what the base's schema alone does not tell: what materialized views show, and a table of the base that
// gave way to one of the same name and columns.
func TestSchemaAfterBase(t *testing.T) {
	bucket := newBucket(t)
	r := newRig(t, 0, bucket)
	r.exec(t, "create materialized view z_first as select count(*) as n from account", "create view between_them as select n from z_first",
		"create materialized view a_second as select n from between_them", "create materialized view never as select 1 as n with no data",
		"create materialized view odd as select 1 / (count(*) - 51) as n from account")
	m := r.base(t)
	r.exec(t, "insert into account (owner, balance) values ('late', 1)")
	good := r.mark(t, "good")
	r.exec(t, "alter table wide rename to old", "create table wide (like old)", "alter table wide add constraint wide_key primary key (id)",
		"alter publication tidemark add table wide", "insert into wide values (1, 'other', 0)")
	r.archived(t, r.mark(t, "made again").lsn)
	r.stop()
	for _, x := range m.Tables {
		if x.OID == 0 {
			t.Errorf("table %s has no OID in the manifest", x.Name)
		}
	}
	url := pgtest.Database(t, 0)
	report, err := restore.To(t.Context(), bucket, restore.Target{LSN: good.lsn}, url, restore.Options{}, r.log)
	if err != nil || !slices.Equal(report.StaleViews, []string{"public.odd"}) {
		t.Fatalf("restore: stale views %v, %v: want the one that divides by zero", report.StaleViews, err)
	}
	var first, second int
	var filled bool
	err = pgtest.Connect(t, url).QueryRow(t.Context(), "select (select n from z_first), (select n from a_second), relispopulated from pg_class where relname = 'never'").
		Scan(&first, &second, &filled)
	if err != nil || first != 51 || second != 51 || filled {
		t.Errorf("materialized views show %d and %d of 51 accounts, one without data is filled: %v, %v", first, second, filled, err)
	}
	_, err = restore.To(t.Context(), bucket, restore.Target{Latest: true}, pgtest.Database(t, 0), restore.Options{}, r.log)
	if err == nil || !strings.Contains(err.Error(), "public.wide, which is not the base's table of that name") {
		t.Errorf("restore: %v, want an error that names the table", err)
	}
}

func openStore(t *testing.T, bucket objstore.Bucket) *archive.Store {
	t.Helper()
	store, err := archive.OpenStore(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func planned(t *testing.T, bucket objstore.Bucket, target restore.Target) restore.Plan {
	t.Helper()
	plan, err := restore.Prepare(t.Context(), openStore(t, bucket), target)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}
