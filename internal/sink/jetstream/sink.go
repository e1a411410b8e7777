package jetstream

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidemark/internal/change"
	"tidemark/internal/event"
	"tidemark/internal/pgoutput"
	"tidemark/internal/planted"
	"tidemark/internal/position"
	"tidemark/internal/segment"
	"tidemark/internal/sink"
)

// Sink publishes to one stream. It implements sink.Sink.
type Sink struct {
	cfg    Config
	source event.Source
	names  names
	log    *slog.Logger

	trimEvery time.Duration // how often retention runs

	*session // nil while closed
}

// session is what lives from Open to Close.
type session struct {
	conn    *nats.Conn
	dialer  *dialer
	stream  jetstream.Stream
	pub     *publisher
	decoder *pgoutput.Decoder
	encoder *event.Encoder
	batch   []event.Message // reused

	resume  resume
	halfway position.LSN // end of the transaction that the stream ends within, until it is finished; 0 for none
	rows    uint32       // rows of the open transaction that the stream holds or will hold

	waiting []ended // complete transactions that are not covered yet
	reached sink.Reached
	quiet   ended     // the last covered transaction, if it put nothing into the stream
	behind  time.Time // since when Stored is behind Covered; zero when it is not
	marker  uint64    // sequence of the last acknowledged commit marker
	trimmed time.Time // when retention last ran
}

// ended is a transaction whose last part was taken.
type ended struct {
	end    position.LSN
	need   uint64 // sequence whose acknowledgement covers it
	marked bool   // need is its commit marker
	// marker is the commit marker of a transaction that put nothing into the stream, in case that an idle marker is due.
	marker event.Message
}

// New makes a sink; it connects in Open. cfg takes its defaults, and is checked.
func New(cfg Config, source event.Source, log *slog.Logger) (*Sink, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if source.SystemID == "" || source.Database == "" {
		return nil, fmt.Errorf("make NATS sink: system identifier and database are required")
	}
	return &Sink{cfg: cfg, source: source, names: namesOf(cfg, source), log: log, trimEvery: trimInterval}, nil
}

// Open connects, makes the stream if it does not exist, and reads from it where to go on.
func (s *Sink) Open(ctx context.Context) (sink.Reached, error) {
	s.drop()
	pub := newPublisher(s.cfg)
	conn, d, err := connect(ctx, s.cfg, pub.fail)
	if err != nil {
		return sink.Reached{}, err
	}
	s.session = &session{conn: conn, dialer: d, pub: pub, decoder: pgoutput.NewDecoder(), trimmed: time.Now()}
	s.encoder, err = event.NewEncoder(s.source, s.cfg.SubjectPrefix)
	if err != nil {
		s.drop()
		return sink.Reached{}, sink.Permanent(err)
	}
	if err := s.begin(ctx); err != nil {
		s.drop()
		return sink.Reached{}, err
	}
	return s.reached, nil
}

func (s *Sink) begin(ctx context.Context) error {
	js, err := jetstream.New(s.conn)
	if err != nil {
		return fmt.Errorf("use JetStream: %w", err)
	}
	if s.stream, err = ensureStream(ctx, js, s.cfg, s.names.commit, s.log); err != nil {
		return err
	}
	if s.resume, err = findEnd(ctx, s.stream, s.names); err != nil {
		return err
	}
	if planted.Is(planted.PublishWithoutID) {
		s.wrongResume()
	}
	if !s.resume.whole {
		s.halfway = s.resume.last.End
	}
	s.reached = sink.Reached{Stored: s.resume.stored, Covered: s.resume.stored}
	s.marker = s.resume.marker
	return s.pub.start(s.conn, s.resume.sequence, s.resume.id, s.stream.CachedInfo().Config.MaxMsgSize)
}

// Apply publishes the frames' rows and returns what is acknowledged by now. A tick waits for everything outstanding.
func (s *Sink) Apply(ctx context.Context, frames []segment.Frame) (sink.Reached, error) {
	if s.session == nil {
		return sink.Reached{}, nats.ErrConnectionClosed
	}
	for i := range frames {
		if err := s.take(ctx, &frames[i]); err != nil {
			return sink.Reached{}, err
		}
	}
	if err := s.mark(ctx); err != nil {
		return sink.Reached{}, err
	}
	if len(frames) == 0 {
		if err := s.pub.drain(ctx); err != nil {
			return sink.Reached{}, err
		}
	}
	if err := s.trim(ctx); err != nil {
		return sink.Reached{}, err
	}
	return s.reached, s.collect()
}

// Close gives the connection back. Acknowledgements still outstanding are left: what was stored is read at the next Open.
func (s *Sink) Close(context.Context) error {
	s.drop()
	return nil
}

func (s *Sink) drop() {
	if s.session != nil {
		s.conn.Close()
		s.session = nil
	}
}

// take publishes one frame's rows.
func (s *Sink) take(ctx context.Context, f *segment.Frame) error {
	if f.Kind == segment.Definition {
		if err := s.decoder.Define(f.Payload); err != nil {
			return sink.Permanent(err)
		}
		return nil
	}
	if err := s.checkHalfway(f); err != nil {
		return err
	}
	if f.First {
		s.encoder.Begin(event.TransactionOf(f))
		s.rows = 0
	}
	rows := s.decoder.Rows(f)
	if planted.Is(planted.PublishReordered) {
		rows = planted.Swap(rows, change.Row.Clone, wrongPair)
	}
	for row, err := range rows {
		if err != nil {
			return sink.Permanent(fmt.Errorf("read transaction %s: %w", f.End, err))
		}
		if err := s.row(ctx, f.End, row); err != nil {
			return err
		}
	}
	if f.Last {
		return s.end(ctx, f)
	}
	return nil
}

// checkHalfway makes sure that the transaction which the stream ends within is finished: subscribers wait for it.
func (s *Sink) checkHalfway(f *segment.Frame) error {
	if s.halfway != 0 && f.End > s.halfway {
		return sink.Permanent(fmt.Errorf("stream %s ends within transaction %s, and the journal goes on with %s: %w",
			s.cfg.Stream, s.halfway, f.End, sink.ErrGap))
	}
	if f.Last && f.End == s.halfway {
		s.halfway = 0
	}
	return nil
}

// collect moves the position over the transactions that are acknowledged to their end.
func (s *Sink) collect() error {
	acked, err := s.pub.state()
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	n := 0
	for ; n < len(s.waiting) && s.waiting[n].need <= acked; n++ {
		s.cover(s.waiting[n])
	}
	s.waiting = s.waiting[n:]
	return nil
}

func (s *session) cover(e ended) {
	s.reached.Covered = e.end
	if e.marked {
		if planted.Is(planted.PublishWithoutID) {
			wrongRetry.from = s.reached.Stored
		}
		s.reached.Stored, s.marker, s.behind = e.end, e.need, time.Time{}
		return
	}
	s.quiet = e
	if s.behind.IsZero() {
		s.behind = time.Now()
	}
}
