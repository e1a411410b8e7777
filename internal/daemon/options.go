package daemon

import (
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"tidemark/internal/config"
	"tidemark/internal/journal"
	"tidemark/internal/progress"
	"tidemark/internal/rpo"
	"tidemark/internal/sink/archiver"
	"tidemark/internal/sink/jetstream"
	"tidemark/internal/sink/standby"
	"tidemark/internal/source"
	"tidemark/internal/trace"
	"tidemark/internal/vfs"
	"tidemark/internal/vfs/tracefs"
)

// Options are what the configuration does not say.
type Options struct {
	Version string
	Log     *slog.Logger
	// Token guards the HTTP port; empty lets loopback callers in.
	Token string
	// Prepare makes slot and publication first, as long as there is no journal yet: with a journal, a missing slot is a
	// gap, which a new slot would hide.
	Prepare bool
	// Trace, if set, takes what becomes durable in the journal and what is acknowledged. The caller closes it after Run.
	Trace *trace.Writer
}

// SourceConfig is the source's part of the configuration.
func SourceConfig(cfg config.Config) source.Config {
	return source.Config{
		URL:  cfg.Source.URL.Reveal(),
		Slot: cfg.Source.Slot,
		Publication: source.Publication{
			Name: cfg.Source.Publication.Name, Tables: cfg.Source.Publication.Tables, Exclude: cfg.Source.Publication.Exclude,
		},
		Heartbeat: time.Duration(cfg.Source.Heartbeat),
		WALBudget: int64(cfg.Source.WALBudget),
	}
}

func journalConfig(cfg config.Journal) journal.Config {
	return journal.Config{
		Dir: cfg.Dir, SegmentSize: int64(cfg.SegmentSize), Retention: time.Duration(cfg.Retention), MaxSize: int64(cfg.MaxSize),
	}
}

// fileSystem is where the journal lies.
func (o Options) fileSystem() vfs.FS {
	if o.Trace == nil {
		return vfs.OS{}
	}
	return tracefs.New(vfs.OS{}, o.Trace.File)
}

func standbyConfig(cfg config.Standby) standby.Config {
	return standby.Config{URL: cfg.URL.Reveal(), BatchRows: cfg.BatchRows, DDL: cfg.DDL}
}

func natsConfig(cfg config.NATS, url string) jetstream.Config {
	return jetstream.Config{
		URL: url, Credentials: cfg.CredentialsFile, Stream: cfg.Stream, SubjectPrefix: cfg.SubjectPrefix,
		Format: cfg.Format, Replicas: cfg.Replicas, Retention: time.Duration(cfg.Retention),
	}
}

func archiverConfig(cfg config.Archive) archiver.Config {
	return archiver.Config{
		URL: ArchiveURL(cfg.URL), FlushInterval: time.Duration(cfg.FlushInterval), FlushSize: int64(cfg.FlushSize),
	}
}

// ArchiveURL makes a file URL with a relative path absolute: file://./dir is meant as a path, not as a host.
func ArchiveURL(url string) string {
	path, ok := strings.CutPrefix(url, "file://")
	if !ok || filepath.IsAbs(path) {
		return url
	}
	if abs, err := filepath.Abs(path); err == nil {
		return "file://" + abs
	}
	return url
}

// Stream names the source for targets that keep a progress row.
func Stream(id source.Identity) string { return id.SystemID + "/" + id.Database }

// copies lists the journal and the enabled sinks with what is expected of them.
func copies(cfg config.Config) []rpo.Copy {
	var out []rpo.Copy
	for _, c := range []struct {
		name string
		on   bool
	}{
		{progress.Journal, true}, {progress.Standby, cfg.Sinks.Standby.On()},
		{progress.NATS, cfg.Sinks.NATS.On()}, {progress.Archive, cfg.Sinks.Archive.On()},
	} {
		if c.on {
			want := cfg.RPO.Copies[c.name]
			out = append(out, rpo.Copy{
				Name: c.name, Domain: want.Domain, Tier: want.Tier, Target: time.Duration(cfg.RPO.Tiers[want.Tier].Target),
			})
		}
	}
	return out
}
