package postgres_test

import (
	"strings"
	"testing"

	"tidemark/internal/postgres"
	"tidemark/internal/postgres/pgtest"
)

func TestConnectErrorsAreOneLineWithoutSecrets(t *testing.T) {
	c := pgtest.Shared(t, 0)
	cases := map[string]struct{ url, want string }{
		"nobody listens":   {"postgres://u:hush@127.0.0.1:1/d", "connection refused"},
		"wrong password":   {c.URLFor("postgres", "hush", "postgres"), "password authentication failed"},
		"no such database": {c.URL("nowhere"), `database "nowhere" does not exist`},
		"no such host":     {"postgres://u:hush@no-such-host.invalid/d", "no such host"},
		"no URL":           {"postgres://u:hush@[x/d", "parse connection URL"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := postgres.Connect(t.Context(), tc.url, "test")
			_, replication := postgres.ConnectReplication(t.Context(), tc.url, "test")
			for _, err := range []error{err, replication} {
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Fatalf("error is %v, want %q", err, tc.want)
				}
				if text := err.Error(); strings.Contains(text, "hush") || strings.Contains(text, "\n") || strings.Count(text, tc.want) > 1 {
					t.Errorf("error is %q", text)
				}
			}
		})
	}
}

// Roles and databases may be set to anything: our sessions' text stays canonical.
func TestCanonicalBeatsRoleSettings(t *testing.T) {
	url := pgtest.Database(t, 0)
	pgtest.Exec(t, url, "create role odd login superuser password 'odd'",
		"alter role odd set datestyle = 'SQL, DMY'", "alter role odd set bytea_output = 'escape'",
		"alter role odd set timezone = 'Asia/Kolkata'", "alter role odd set extra_float_digits = 0", "alter role odd set synchronous_commit = on")
	c := pgtest.Shared(t, 0)
	conn, err := postgres.Connect(t.Context(), c.URLFor("odd", "odd", "postgres"), "test")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var text string
	err = conn.QueryRow(t.Context(), `select concat_ws(' ', '2026-02-01 10:00:00+00'::timestamptz::text, '\x00ff'::bytea::text, (0.1::float8 + 0.2)::text,
		current_setting('synchronous_commit'))`).Scan(&text)
	if want := `2026-02-01 10:00:00+00 \x00ff 0.30000000000000004 local`; err != nil || text != want {
		t.Errorf("text is %q, %v; want %q", text, err, want)
	}
	pgtest.Exec(t, url, "drop role odd")
}

func TestQuote(t *testing.T) {
	conn := pgtest.Connect(t, pgtest.Database(t, 0))
	for _, s := range []string{"a", `a"b`, "a'b", `a\b`, `a\'b`, "Ä.ü b", "select", `'; drop table x; --`} {
		var literal, ident string
		sql := "select " + postgres.Literal(s) + ", (select attname from (select 1 as " + postgres.Ident(s) + ") q, lateral (select key as attname from json_each(row_to_json(q))) k)"
		if err := conn.QueryRow(t.Context(), sql).Scan(&literal, &ident); err != nil || literal != s || ident != s {
			t.Errorf("%q comes back as literal %q and identifier %q, %v", s, literal, ident, err)
		}
	}
	for s, major := range map[string]int{"170010": 17, "140000": 14} {
		if v, err := postgres.ParseVersion(s); err != nil || v.Major() != major {
			t.Errorf("%s is major %d, %v", s, v.Major(), err)
		}
	}
	if _, err := postgres.ParseVersion("x"); err == nil {
		t.Error("x is a version")
	}
}
