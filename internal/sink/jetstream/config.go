package jetstream

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"tidemark/internal/event"
)

// Config says where and how to publish. Zero values take the defaults that WithDefaults names.
type Config struct {
	// URL is one or more nats:// or tls:// addresses, separated by commas.
	URL string
	// Credentials is the path of a NATS credentials file; empty for none.
	Credentials string
	// Stream is the stream's name, default TIDEMARK. It is made when it does not exist; an existing one is used as it is.
	Stream string
	// SubjectPrefix is the first token of every subject, default cdc; it may hold dots.
	SubjectPrefix string
	// Format of the payload; json is the only one so far.
	Format string
	// Replicas of a stream that we make, 1 to 5, default 1.
	Replicas int
	// Retention is how long messages stay, default 24 h; negative keeps them for ever.
	Retention time.Duration

	// Window bounds the messages that are published and not yet acknowledged, default 1024. A server that syncs every
	// message works through it in a fraction of a second, also after a lost connection, when it still holds a whole one.
	Window int
	// WindowBytes bounds their bytes, default 16 MiB. One message is always let through.
	WindowBytes int
	// ConnectTimeout bounds one attempt to connect, default 5 s.
	ConnectTimeout time.Duration
	// AckTimeout is how long the server may acknowledge nothing with messages outstanding, default 30 s. A dead connection is
	// noticed sooner, by its pings.
	AckTimeout time.Duration
	// IdleMarker is how long the stream's own position may stay behind what is covered while no row is
	// published, default 10 s; then a commit marker without rows moves it.
	IdleMarker time.Duration
}

// WithDefaults returns c with its zero values replaced.
func (c Config) WithDefaults() Config {
	setDefault(&c.Stream, "TIDEMARK")
	setDefault(&c.SubjectPrefix, "cdc")
	setDefault(&c.Format, "json")
	setDefault(&c.Replicas, 1)
	setDefault(&c.Retention, 24*time.Hour)
	setDefault(&c.Window, 1024)
	setDefault(&c.WindowBytes, 16<<20)
	setDefault(&c.ConnectTimeout, 5*time.Second)
	setDefault(&c.AckTimeout, 30*time.Second)
	setDefault(&c.IdleMarker, 10*time.Second)
	return c
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

var streamName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`)

// Validate checks a Config that has its defaults. Errors never hold the URL: it may hold a password.
func (c Config) Validate() error {
	for u := range strings.SplitSeq(c.URL, ",") {
		if err := validateURL(strings.TrimSpace(u)); err != nil {
			return err
		}
	}
	switch {
	case !streamName.MatchString(c.Stream):
		return fmt.Errorf("check nats.stream: %q is no stream name (letters, digits, _ and -)", c.Stream)
	case c.Format != "json":
		return fmt.Errorf("check nats.format: %q is not known, use json", c.Format)
	case c.Replicas < 1 || c.Replicas > 5:
		return fmt.Errorf("check nats.replicas: %d is not between 1 and 5", c.Replicas)
	case c.Retention > 0 && c.Retention < time.Minute:
		return fmt.Errorf("check nats.retention: %v is below a minute", c.Retention)
	case c.Window < 1 || c.WindowBytes < 1 || c.ConnectTimeout < 1 || c.AckTimeout < 1 || c.IdleMarker < 1:
		return errors.New("check nats: window sizes and timeouts must be positive")
	}
	if err := event.CheckPrefix(c.SubjectPrefix); err != nil {
		return fmt.Errorf("check nats.subject_prefix: %w", err)
	}
	return nil
}

func validateURL(s string) error {
	if s == "" {
		return errors.New("check nats.url: empty address; write nats://host:4222")
	}
	if !strings.Contains(s, "://") {
		s = "nats://" + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" {
		return errors.New("check nats.url: not an address such as nats://host:4222")
	}
	if u.Scheme != "nats" && u.Scheme != "tls" {
		return fmt.Errorf("check nats.url: scheme %q is not nats or tls", u.Scheme)
	}
	return nil
}
