package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tidemark/internal/sink"
)

// ensureStream returns the stream, made if it does not exist. subject is one that it must take.
func ensureStream(ctx context.Context, js jetstream.JetStream, cfg Config, subject string, log *slog.Logger) (jetstream.Stream, error) {
	stream, err := js.Stream(ctx, cfg.Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = js.CreateStream(ctx, streamConfig(cfg))
	}
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return nil, sink.Permanent(fmt.Errorf("open stream %s: JetStream is not enabled on the NATS server for this account", cfg.Stream))
	case err != nil:
		return nil, fmt.Errorf("open stream %s: %w", cfg.Stream, err)
	}
	owner, err := js.StreamNameBySubject(ctx, subject)
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("look up the stream of subject %s: %w", subject, err)
	}
	if owner != cfg.Stream {
		return nil, sink.Permanent(fmt.Errorf("stream %s does not take subject %s: add %s.> to its subjects or set nats.subject_prefix",
			cfg.Stream, subject, cfg.SubjectPrefix))
	}
	for _, w := range hazards(stream.CachedInfo().Config) {
		log.Warn("stream may lose messages", "stream", cfg.Stream, "because", w)
	}
	return stream, nil
}

// streamConfig is the stream that we make. It has no limits: a full stream would have to lose the oldest messages or
// refuse new ones. Age is not a limit of the stream either, because the last message holds our position and must outlive an
// idle week; the sink itself removes what is older than the retention.
func streamConfig(cfg Config) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        cfg.Stream,
		Description: "Tidemark: row changes in commit order",
		Subjects:    []string{cfg.SubjectPrefix + ".>"},
		Storage:     jetstream.FileStorage,
		Replicas:    cfg.Replicas,
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardNew,
		MaxMsgs:     -1, MaxBytes: -1, MaxMsgSize: -1, MaxMsgsPerSubject: -1, MaxConsumers: -1,
		Duplicates: 2 * time.Minute,
	}
}

// hazards lists what in an existing stream's configuration removes messages before a subscriber has read them, or removes
// the last one, which holds our position.
func hazards(c jetstream.StreamConfig) []string {
	var out []string
	if c.Retention != jetstream.LimitsPolicy {
		out = append(out, "its retention policy removes messages when they are consumed")
	}
	if c.Discard == jetstream.DiscardOld && (c.MaxMsgs > 0 || c.MaxBytes > 0) {
		out = append(out, "it has limits and discards the oldest messages when it is full")
	}
	if c.MaxMsgsPerSubject > 0 {
		out = append(out, "it limits the messages per subject")
	}
	if c.MaxAge > 0 {
		out = append(out, fmt.Sprintf("its max_age of %v also removes the last message, which holds the sink's position", c.MaxAge))
	}
	if c.Storage == jetstream.MemoryStorage {
		out = append(out, "it is stored in memory")
	}
	return out
}
