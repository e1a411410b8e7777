package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func environment(pairs ...string) Environment {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return func(name string) (string, bool) { v, ok := m[name]; return v, ok }
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tidemark.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const whole = `
source:
  url: postgres://tidemark:${PW}@primary:5432/app
  slot: main
  publication: {name: pub, tables: ["public.*"], exclude: [public.tmp]}
  acknowledge: journal+standby
  heartbeat: 2s
journal: {dir: /var/lib/tidemark, segment_size: 16MiB, retention: 2d, max_size: 1GB}
sinks:
  standby: {url: postgres://standby/app}
  nats: {enabled: false, embedded: {sync_interval: 2m}}
  archive: {url: "s3://bucket/p?region=eu-west-1", flush_size: 1MiB}
rpo:
  tiers: {1: {target: 1s}}
  copies: {journal: {tier: 1, domain: host-a}}
http: {listen: "127.0.0.1:1"}
`

func TestLoad(t *testing.T) {
	cfg, err := Load(write(t, whole), environment("PW", "p: #x", "TIDEMARK_JOURNAL_MAX_SIZE", "2GiB",
		"TIDEMARK_SINKS_ARCHIVE_FLUSH_INTERVAL", "9s", "TIDEMARK_SOURCE_PUBLICATION_TABLES", "[a.b, c.d]"))
	if err != nil {
		t.Fatal(err)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	if got := cfg.Source.URL.Reveal(); got != "postgres://tidemark:p: #x@primary:5432/app" {
		t.Errorf("url is %q", got)
	}
	if cfg.Journal.Retention != Duration(48*time.Hour) || cfg.Journal.MaxSize != 2<<30 || cfg.Journal.SegmentSize != 16<<20 {
		t.Errorf("journal is %+v", cfg.Journal)
	}
	if got := fmt.Sprint(cfg.Source.Publication.Tables); got != "[a.b c.d]" {
		t.Errorf("tables are %v", got)
	}
	if cfg.Sinks.NATS.Embedded.SyncInterval != SyncInterval(2*time.Minute) || Default().Sinks.NATS.Embedded.SyncInterval != 0 {
		t.Errorf("sync interval is %v", cfg.Sinks.NATS.Embedded.SyncInterval)
	}
	if cfg.Sinks.NATS.On() || !cfg.Sinks.Archive.On() || !cfg.Sinks.Standby.On() || cfg.Sinks.Archive.FlushInterval != Duration(9*time.Second) {
		t.Errorf("sinks are %+v", cfg.Sinks)
	}
	if cfg.RPO.Copies["journal"].Domain != "host-a" {
		t.Errorf("rpo is %+v", cfg.RPO)
	}
}

func TestDefaultNeedsOnlyTheSource(t *testing.T) {
	cfg, err := Load("", environment("TIDEMARK_SOURCE_URL", "postgres://h/d"))
	if err != nil {
		t.Fatal(err)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
}

func TestBadInputIsOneLine(t *testing.T) {
	cases := []struct{ name, text, want string }{
		{"unknown key", "source:\n  url: postgres://secretpw@h/d\n  slott: x\n", `line 3: unknown field "slott"`},
		{"unknown section", "sauce: {}\n", `line 1: unknown field "sauce"`},
		{"not yaml", "source: [\n", "line 1"},
		{"bad duration", "source: {url: x, heartbeat: soon}\n", "is not a duration"},
		{"bad size", "journal: {max_size: much}\n", "is not a size"},
		{"bad sync interval", "sinks: {nats: {embedded: {sync_interval: never}}}\n", "neither always nor a duration"},
		{"wrong shape", "source: 5\n", "line 1"},
		{"missing variable", "source: {url: '${NOPE}'}\n", "line 1: environment variable NOPE is not set"},
		{"no source", "{}\n", "source.url is not set"},
		{"bad acknowledge", "source: {url: x, acknowledge: journal+standby}\n", "not an enabled copy"},
		{"acknowledge without journal", "source: {url: x, acknowledge: archive}\n", "must contain journal"},
		{"open port without token", "source: {url: x}\nhttp: {listen: '0.0.0.0:1'}\n", "http.token_file"},
		{"tier", "source: {url: x}\nrpo: {copies: {nats: {tier: 9}}}\n", "no such tier"},
		{"format", "source: {url: x}\nsinks: {nats: {format: avro}}\n", "publishes json"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			cfg, err := Load(write(t, c.text), environment())
			if err == nil {
				err = cfg.Validate()
			}
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error is %v; want one line with %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "secretpw") {
				t.Errorf("error tells a secret: %v", err)
			}
		})
	}
}

func TestSecretsFromFiles(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(secret, []byte("postgres://u:hush@h/d\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := Load(write(t, "source: {url_file: "+secret+"}\n"), environment())
	if err != nil || cfg.Source.URL.Reveal() != "postgres://u:hush@h/d" {
		t.Fatalf("url is %q, %v", cfg.Source.URL.Reveal(), err)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", cfg.Source.URL, cfg, cfg.Source, cfg.Source.URL); strings.Contains(text, "hush") {
		t.Errorf("printing tells the secret: %s", text)
	}
	if _, err := Load(write(t, "source: {url: x, url_file: "+secret+"}\n"), environment()); !errors.Is(err, ErrInvalid) {
		t.Errorf("both url and url_file: %v", err)
	}
}
