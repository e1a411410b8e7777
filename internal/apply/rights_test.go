package apply_test

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"tidemark/internal/apply"
	"tidemark/internal/apply/applytest"
	"tidemark/internal/postgres"
	"tidemark/internal/postgres/pgtest"
)

// as gives a target's URL for another role, with a password.
func as(t *testing.T, target, role, password string) string {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, password)
	return u.String()
}

// TestRights starts with a role that may do nothing, and grants what each error asks for, in its own SQL, until all is applied.
func TestRights(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, major int) {
		r := newRig(t, major, `create schema "S"`, `create table "S".a(id int primary key, v text)`)
		pgtest.Exec(t, r.source.URL, `insert into "S".a values (1, 'x')`, `update "S".a set v = 'y'`, `truncate "S".a`, `insert into "S".a values (2, 'z')`)
		frames := r.source.Frames(t)
		_ = r.applier.Close(t.Context())
		const role = `Ap"plier`
		pgtest.Exec(t, r.target, `create role "Ap""plier" login password 'secret-word'`, "drop schema tidemark cascade")
		t.Cleanup(func() {
			conn, err := postgres.Connect(context.Background(), r.target, "cleanup")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(context.Background())
			for _, s := range []string{`drop owned by "Ap""plier" cascade`, `drop role "Ap""plier"`} {
				if _, err := conn.Exec(context.Background(), s); err != nil {
					t.Errorf("%s: %v", s, err)
				}
			}
		})
		cfg := apply.Config{URL: as(t, r.target, role, "secret-word"), Stream: stream}
		seenSetRole, granted := false, []string{}
		for range 8 {
			err := applyAs(t, r, cfg, frames)
			if err == nil {
				break
			}
			var rights *apply.RightsError
			if !errors.As(err, &rights) {
				t.Fatalf("after %q: %v", granted, err)
			}
			if strings.Contains(err.Error(), "secret-word") {
				t.Errorf("error shows the password: %v", err)
			}
			seenSetRole = seenSetRole || strings.Contains(rights.What, "session_replication_role")
			granted = append(granted, rights.SQL)
			pgtest.Exec(t, r.target, rights.SQL)
		}
		if !seenSetRole {
			t.Errorf("session_replication_role needed no right; granted were %q", granted)
		}
		applytest.Compare(t, r.left, r.right)
		if major < 15 {
			return // the role is a superuser now
		}
		pgtest.Exec(t, r.target, `alter table "S".a enable row level security`)
		var rights *apply.RightsError
		pgtest.Exec(t, r.source.URL, `delete from "S".a`)
		frames = append(frames, r.source.Frames(t)...)
		if err := applyAs(t, r, cfg, frames); !errors.As(err, &rights) || !strings.Contains(rights.SQL, "bypassrls") {
			t.Fatalf("under row-level security: %v", err)
		}
		pgtest.Exec(t, r.target, rights.SQL)
		if err := applyAs(t, r, cfg, frames); err != nil {
			t.Fatal(err)
		}
		applytest.Compare(t, r.left, r.right)
	})
}

func applyAs(t *testing.T, r *rig, cfg apply.Config, frames []frame) error {
	t.Helper()
	a, err := apply.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { _ = a.Close(context.Background()) }()
	r.applier = a
	at, seeded, err := a.Position(t.Context())
	if err != nil {
		return err
	}
	if !seeded {
		if err := apply.SetProgress(t.Context(), pgtest.Connect(t, cfg.URL), stream, 1, 0); err != nil {
			t.Fatal(err)
		}
		if at, _, err = a.Position(t.Context()); err != nil {
			return err
		}
	}
	for i := range frames {
		if frames[i].End != 0 && frames[i].End <= at {
			continue
		}
		if err := r.frame(t, &frames[i]); err != nil {
			return err
		}
	}
	_, err = a.Flush(t.Context())
	return err
}

// TestSettings gives the target settings of its own that would bend text, limits and plans; none may reach our session.
func TestSettings(t *testing.T) {
	r := newRig(t, 0, "create table a(id int primary key, ts timestamptz, iv interval, by bytea, f float8, d date)")
	_ = r.applier.Close(t.Context())
	pgtest.Exec(t, r.target, `do $$ declare s text; begin
		foreach s in array array['datestyle = ''German, DMY''', 'intervalstyle = sql_standard', 'timezone = ''Asia/Kolkata''', 'bytea_output = escape', 'extra_float_digits = -10',
			'statement_timeout = 1', 'lock_timeout = 1', 'default_transaction_read_only = on', 'default_transaction_isolation = serializable', 'search_path = pg_temp', 'standard_conforming_strings = off', 'row_security = on'] loop
			execute format('alter database %I set %s', current_database(), s);
		end loop; end $$`)
	r.open(t)
	pgtest.Exec(t, r.source.URL, "insert into a values (1, '2020-03-04 05:06:07.000001+09', '-1 year +2 days -03:04', '\\x5c00ff', 0.1, '2020-02-01')", "update a set iv = iv * 2, d = '0044-03-15 BC'")
	if err := r.apply(t, r.source.Frames(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.applier.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	applytest.Compare(t, r.left, r.right)
}
