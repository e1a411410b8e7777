package postgres

import (
	"slices"
	"strings"
	"testing"
)

func TestLibpqEnv(t *testing.T) {
	t.Setenv("PGOPTIONS", "-c search_path=elsewhere")
	t.Setenv("PGPASSWORD", "other")
	tests := map[string]struct {
		url  string
		want []string
	}{
		"url": {"postgres://app:p%40ss@db.example:6432/shop?sslmode=disable&pool_max_conns=3",
			[]string{"PGHOST=db.example", "PGPORT=6432", "PGUSER=app", "PGPASSWORD=p@ss", "PGDATABASE=shop", "PGSSLMODE=disable"}},
		"keywords": {`host=db.example port=6432 user=app password='it\'s a secret' dbname=shop sslmode=disable`,
			[]string{"PGHOST=db.example", "PGPORT=6432", "PGUSER=app", "PGPASSWORD=it's a secret", "PGDATABASE=shop", "PGSSLMODE=disable"}},
		"several hosts": {"postgres://app:x@a:1,b:2/shop?target_session_attrs=read-write&sslmode=prefer",
			[]string{"PGHOST=a,b", "PGPORT=1,2", "PGTARGETSESSIONATTRS=read-write", "PGSSLMODE=prefer"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			env, err := libpqEnv(test.url)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range test.want {
				if !slices.Contains(env, want) {
					t.Errorf("no %s", strings.SplitN(want, "=", 2)[0])
				}
			}
			for _, entry := range env {
				if strings.HasPrefix(entry, "PGOPTIONS=") || entry == "PGPASSWORD=other" {
					t.Errorf("%s is inherited", entry)
				}
			}
		})
	}
}
