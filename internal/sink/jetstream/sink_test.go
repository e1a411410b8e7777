package jetstream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidemark/internal/event"
	"tidemark/internal/position"
	"tidemark/internal/segment"
	"tidemark/internal/sink"
	"tidemark/internal/sink/sinktest"
)

func tx(end position.LSN, parts ...sinktest.Part) []segment.Frame {
	return sinktest.Transaction(end, parts...)
}

func at(end position.LSN, ordinals ...uint32) []position.Position {
	var out []position.Position
	for _, o := range ordinals {
		out = append(out, position.Position{End: end, Ordinal: o})
	}
	return out
}

func TestMessages(t *testing.T) {
	s := newStream(t, startProcess(t).url())
	k, _ := s.open(t)
	apply(t, k, append([]segment.Frame{sinktest.Rows.Define(), sinktest.Own.Define()},
		tx(0x1000, sinktest.Part{sinktest.Rows, sinktest.Own, sinktest.Rows})...)...)
	if r := apply(t, k); r != (sink.Reached{Stored: 0x1000, Covered: 0x1000}) {
		t.Errorf("reached %+v", r)
	}
	var got []string
	for _, m := range s.messages(t) {
		got = append(got, fmt.Sprintln(m.Sequence, m.Subject, m.Header.Get("Nats-Msg-Id"), m.Header.Get("Tidemark-Position"),
			m.Header.Get("Nats-Expected-Last-Sequence")))
	}
	want := []string{
		"1 cdc.app.public.sinktest.insert 7301234567890123456/0/1000/0 0/1000:0 0\n",
		"2 cdc.app.public.sinktest.insert 7301234567890123456/0/1000/2 0/1000:2 1\n",
		"3 cdc.app._commit 7301234567890123456/0/1000/3 0/1000:3 2\n",
	}
	if !slices.Equal(got, want) {
		t.Errorf("stream holds\n%v\nwant\n%v", got, want)
	}
}

func TestBookkeepingCoversWithoutMessages(t *testing.T) {
	s := newStream(t, startProcess(t).url())
	s.cfg.IdleMarker = 300 * time.Millisecond
	k, _ := s.open(t)
	apply(t, k, sinktest.Rows.Define(), sinktest.Own.Define())
	apply(t, k, tx(0x1000, sinktest.Part{sinktest.Rows})...)
	apply(t, k, tx(0x1100, sinktest.Part{sinktest.Own})...)
	if r := apply(t, k); r != (sink.Reached{Stored: 0x1000, Covered: 0x1100}) {
		t.Errorf("reached %+v, want the bookkeeping covered and not stored", r)
	}
	apply(t, k, tx(0x1200, sinktest.Part{sinktest.Own}, sinktest.Part{sinktest.Own})...)
	if n := len(s.messages(t)); n != 2 {
		t.Errorf("stream holds %d messages, want a row and its marker", n)
	}
	open := tx(0x1300, sinktest.Part{sinktest.Rows}, sinktest.Part{sinktest.Rows})
	apply(t, k, open[0])
	time.Sleep(s.cfg.IdleMarker)
	apply(t, k)
	rows, markers := s.rows(t)
	if len(rows) != 2 || len(markers) != 1 {
		t.Errorf("a marker stands within a transaction: rows %v, markers %v", rows, markers)
	}
	apply(t, k, open[1])
	apply(t, k, tx(0x1400, sinktest.Part{sinktest.Own})...)
	apply(t, k)
	time.Sleep(s.cfg.IdleMarker)
	if r := apply(t, k); r != (sink.Reached{Stored: 0x1400, Covered: 0x1400}) {
		t.Errorf("reached %+v, want the idle marker stored", r)
	}
	if _, markers = s.rows(t); !slices.Equal(markers, slices.Concat(at(0x1000, 1), at(0x1300, 2), at(0x1400, 1))) {
		t.Errorf("markers at %v", markers)
	}
	if _, r := s.open(t); r.Stored != 0x1400 {
		t.Errorf("reopened at %s", r.Stored)
	}
}

// TestNoIdleMarkerWithinATransaction: the stream ends within a transaction, and bookkeeping comes before the rest of that one.
func TestNoIdleMarkerWithinATransaction(t *testing.T) {
	s := newStream(t, startProcess(t).url())
	s.cfg.IdleMarker = time.Millisecond
	k, _ := s.open(t)
	defines := []segment.Frame{sinktest.Rows.Define(), sinktest.Own.Define()}
	long := tx(0x1300, sinktest.Part{sinktest.Rows}, sinktest.Part{sinktest.Rows})
	apply(t, k, append(defines, long[0])...)
	apply(t, k)
	k, _ = s.open(t)
	apply(t, k, append(defines, tx(0x1100, sinktest.Part{sinktest.Own})...)...)
	apply(t, k)
	time.Sleep(2 * s.cfg.IdleMarker)
	apply(t, k)
	if _, markers := s.rows(t); len(markers) != 0 {
		t.Errorf("markers at %v within a transaction", markers)
	}
	apply(t, k, long...)
	apply(t, k)
	if rows, markers := s.rows(t); len(rows) != 2 || !slices.Equal(markers, at(0x1300, 2)) {
		t.Errorf("rows %v, markers %v", rows, markers)
	}
}

func TestResumeWithinATruncate(t *testing.T) {
	s := newStream(t, startProcess(t).url())
	f := truncate(0x1000, sinktest.Rows, sinktest.Own, sinktest.Other)
	defines := []segment.Frame{sinktest.Rows.Define(), sinktest.Own.Define(), sinktest.Other.Define()}
	k, _ := s.open(t)
	apply(t, k, append(slices.Clone(defines), f)...)
	apply(t, k)
	all := s.messages(t)
	st, err := s.js.Stream(t.Context(), "TIDEMARK")
	if err != nil {
		t.Fatal(err)
	}
	_ = k.Close(t.Context())
	// The stream as a crash behind the first of the truncate's messages leaves it.
	if err := s.js.DeleteStream(t.Context(), "TIDEMARK"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.js.CreateStream(t.Context(), st.CachedInfo().Config); err != nil {
		t.Fatal(err)
	}
	publishRaw(t, s.js, all[0].Subject, all[0].Header, all[0].Data)
	k, r := s.open(t)
	if r.Stored != 0 {
		t.Errorf("opened at %s within the first transaction", r.Stored)
	}
	apply(t, k, append(slices.Clone(defines), f)...)
	apply(t, k)
	rows, markers := s.rows(t)
	if !slices.Equal(rows, at(0x1000, 0, 2)) || !slices.Equal(markers, at(0x1000, 3)) {
		t.Errorf("rows %v, markers %v", rows, markers)
	}
}

func truncate(end position.LSN, tables ...sinktest.Table) segment.Frame {
	m := binary.BigEndian.AppendUint32([]byte{'T'}, uint32(len(tables)))
	m = append(m, 0)
	for _, t := range tables {
		m = binary.BigEndian.AppendUint32(m, t.ID)
	}
	n := uint32(len(tables))
	return segment.Frame{Kind: segment.Part, First: true, Last: true, Count: n, Total: n, End: end, Commit: end - 8, Time: 1,
		Payload: segment.AppendMessage(nil, m)}
}

func publishRaw(t *testing.T, js jetstream.JetStream, subject string, h nats.Header, data []byte) {
	t.Helper()
	clean := nats.Header{}
	for k, v := range h {
		if k != jetstream.ExpectedLastSeqHeader {
			clean[k] = v
		}
	}
	if _, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: subject, Header: clean, Data: data}); err != nil {
		t.Fatal(err)
	}
}

func TestForeignStreamsAreRefused(t *testing.T) {
	p := startProcess(t)
	for name, c := range map[string]struct {
		spoil func(t *testing.T, s *stream)
		want  string
	}{
		"foreign message": {func(t *testing.T, s *stream) {
			publishRaw(t, s.js, "cdc.app.public.sinktest.insert", nil, []byte("secret"))
		}, "message 3, its last, does not carry our position header"},
		"position without id": {func(t *testing.T, s *stream) {
			publishRaw(t, s.js, "cdc.app.x", nats.Header{event.HeaderPosition: {"0/1:0"}}, nil)
		}, "does not carry our message id"},
		"another system": {func(t *testing.T, s *stream) {
			publishRaw(t, s.js, "cdc.app._commit", nats.Header{event.HeaderPosition: {"0/1:0"}, event.HeaderID: {"42/0/1/0"}}, nil)
		}, "comes from system 42"},
		"another database": {func(t *testing.T, s *stream) {
			publishRaw(t, s.js, "cdc.other._commit",
				nats.Header{event.HeaderPosition: {"0/1:0"}, event.HeaderID: {source.SystemID + "/0/1/0"}}, nil)
		}, "does not begin with cdc.app."},
		"emptied": {func(t *testing.T, s *stream) {
			st, err := s.js.Stream(t.Context(), "TIDEMARK")
			if err == nil {
				err = st.Purge(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
		}, "was emptied behind message 2"},
		"other subjects": {func(t *testing.T, s *stream) { s.cfg.SubjectPrefix = "elsewhere" }, "does not take subject elsewhere.app._commit"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStream(t, p.url())
			_ = s.js.DeleteStream(t.Context(), "TIDEMARK")
			k, _ := s.open(t)
			apply(t, k, append([]segment.Frame{sinktest.Rows.Define()}, tx(0x1000, sinktest.Part{sinktest.Rows})...)...)
			apply(t, k)
			_ = k.Close(t.Context())
			c.spoil(t, s)
			_, err := s.sink(t).Open(t.Context())
			if !sink.IsPermanent(err) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("open gives %v, want a permanent error with %q", err, c.want)
			}
		})
	}
}

func TestJournalWithoutTheHalfTransactionIsAGap(t *testing.T) {
	s := newStream(t, startProcess(t).url())
	k, _ := s.open(t)
	apply(t, k, sinktest.Rows.Define(), tx(0x1000, sinktest.Part{sinktest.Rows}, sinktest.Part{sinktest.Rows})[0])
	apply(t, k)
	_ = k.Close(t.Context())
	k, _ = s.open(t)
	_, err := k.Apply(t.Context(), append([]segment.Frame{sinktest.Rows.Define()}, tx(0x2000, sinktest.Part{sinktest.Rows})...))
	if !errors.Is(err, sink.ErrGap) {
		t.Errorf("apply gives %v, want a gap", err)
	}
}

func TestSecondPublisherIsFenced(t *testing.T) {
	s := newStream(t, startProcess(t).url())
	a, _ := s.open(t)
	b, _ := s.open(t)
	frames := append([]segment.Frame{sinktest.Rows.Define()}, tx(0x1000, sinktest.Part{sinktest.Rows, sinktest.Rows})...)
	apply(t, a, frames...)
	apply(t, a)
	_, err := b.Apply(t.Context(), frames)
	if err == nil {
		_, err = b.Apply(t.Context(), nil)
	}
	if !errors.Is(err, errSequence) || sink.IsPermanent(err) {
		t.Errorf("the second publisher gets %v", err)
	}
	if rows, markers := s.rows(t); len(rows) != 2 || len(markers) != 1 {
		t.Errorf("stream holds %v and %v", rows, markers)
	}
	if r, err := b.Open(t.Context()); err != nil || r.Stored != 0x1000 {
		t.Errorf("the second publisher reopens at %+v, %v", r, err)
	}
	publishRaw(t, s.js, "cdc.app.x", nil, nil)
	apply(t, b, append([]segment.Frame{sinktest.Rows.Define()}, tx(0x2000, sinktest.Part{sinktest.Rows})...)...)
	if _, err := b.Apply(t.Context(), nil); !errors.Is(err, errSequence) {
		t.Errorf("behind a foreign message apply gives %v", err)
	}
	if _, err := b.Open(t.Context()); !sink.IsPermanent(err) {
		t.Errorf("open behind a foreign message gives %v", err)
	}
}

func TestHostileNames(t *testing.T) {
	s := newStream(t, startProcess(t).url())
	k, _ := s.open(t)
	names := []string{"*", ">", "a.b", "a b", "tab\there", "\u00e9\U0001f600", "$JS.API.STREAM.DELETE.TIDEMARK", "%", "_commit",
		strings.Repeat("\U0001f600", 15) + "abc"}
	end := position.LSN(0x1000)
	for i, n := range names {
		table := sinktest.Table{ID: uint32(100 + i), Schema: n, Name: n, Columns: []string{"position"}}
		end += 0x100
		apply(t, k, append([]segment.Frame{table.Define()}, tx(end, sinktest.Part{table})...)...)
	}
	if r := apply(t, k); r.Stored != end {
		t.Fatalf("reached %+v", r)
	}
	var got []string
	for _, m := range s.messages(t) {
		db, schema, table, op, err := event.ParseSubject("cdc", m.Subject)
		if err != nil || db != "app" {
			t.Errorf("subject %q: %v", m.Subject, err)
		}
		if op != event.OpCommit {
			if schema != table {
				t.Errorf("subject %q", m.Subject)
			}
			got = append(got, table)
		}
	}
	if !slices.Equal(got, names) {
		t.Errorf("subjects name %q", got)
	}
}

func TestTooLargeRowStops(t *testing.T) {
	p := startProcess(t) // max_payload 64 KiB
	s := newStream(t, p.url())
	for _, limit := range []int32{0, 1000} {
		_ = s.js.DeleteStream(t.Context(), "TIDEMARK")
		size := 1 << 16
		if limit > 0 {
			cfg := streamConfig(s.cfg.WithDefaults())
			cfg.MaxMsgSize, size = limit, int(limit)
			if _, err := s.js.CreateStream(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
		}
		k, _ := s.open(t)
		f := tx(0x1000, sinktest.Part{sinktest.Rows})
		f[0].Payload = segment.AppendMessage(nil, sinktest.Rows.Insert("0/1000:0", strings.Repeat("secret", size/6+1)))
		apply(t, k, sinktest.Rows.Define())
		_, err := k.Apply(t.Context(), f)
		if !sink.IsPermanent(err) || strings.Contains(err.Error(), "secret") ||
			!strings.Contains(err.Error(), "cdc.app.public.sinktest.insert") || !strings.Contains(err.Error(), "0/1000:0") {
			t.Errorf("limit %d: apply gives %v", limit, err)
		}
		if n := len(s.messages(t)); n != 0 {
			t.Errorf("stream holds %d messages", n)
		}
		_ = k.Close(t.Context())
	}
}

func TestRetentionKeepsThePosition(t *testing.T) {
	s := newStream(t, startProcess(t).url())
	k, _ := s.open(t)
	k.trimEvery = 0
	apply(t, k, sinktest.Rows.Define())
	for end := position.LSN(0x1000); end < 0x1a00; end += 0x100 {
		apply(t, k, tx(end, sinktest.Part{sinktest.Rows})...)
		apply(t, k)
	}
	k.cfg.Retention = time.Hour
	apply(t, k)
	if n := len(s.messages(t)); n != 20 {
		t.Fatalf("%d messages stay within the retention, want 20", n)
	}
	begun := time.Now()
	apply(t, k, tx(0x2000, sinktest.Part{sinktest.Rows})...)
	apply(t, k)
	for low, want := range map[uint64]uint64{1: 21, 7: 21, 21: 21} {
		if got, err := firstSince(t.Context(), k.stream, low, 22, begun); got != want || err != nil {
			t.Errorf("first message since then, from %d on, is %d, %v; want %d", low, got, err, want)
		}
	}
	k.cfg.Retention = time.Nanosecond
	apply(t, k)
	if rows, markers := s.rows(t); len(rows) != 0 || !slices.Equal(markers, at(0x2000, 1)) {
		t.Errorf("kept rows %v and markers %v, want the last marker only", rows, markers)
	}
	if _, r := s.open(t); r.Stored != 0x2000 {
		t.Errorf("reopened at %s", r.Stored)
	}
}

func TestExistingStreamIsHonoured(t *testing.T) {
	s := newStream(t, startProcess(t).url())
	want := jetstream.StreamConfig{Name: "TIDEMARK", Subjects: []string{"cdc.app.>"}, MaxMsgs: 1000, MaxAge: time.Hour,
		Storage: jetstream.MemoryStorage, MaxMsgsPerSubject: 500}
	if _, err := s.js.CreateStream(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	s.open(t)
	st, err := s.js.Stream(t.Context(), "TIDEMARK")
	if err != nil {
		t.Fatal(err)
	}
	if c := st.CachedInfo().Config; c.MaxMsgs != 1000 || c.MaxAge != time.Hour || c.Storage != jetstream.MemoryStorage {
		t.Errorf("stream was changed to %+v", c)
	}
	if log := strings.Join(s.log.all(), "\n"); strings.Count(log, "stream may lose messages") != 4 {
		t.Errorf("hazards are not told:\n%s", log)
	}
}

func TestNewStreamCannotLoseUnreadMessages(t *testing.T) {
	s := newStream(t, startProcess(t).url())
	s.open(t)
	st, err := s.js.Stream(t.Context(), "TIDEMARK")
	if err != nil {
		t.Fatal(err)
	}
	c := st.CachedInfo().Config
	if h := hazards(c); len(h) != 0 || c.Storage != jetstream.FileStorage || c.Duplicates != 2*time.Minute || c.AllowDirect {
		t.Errorf("hazards %v in %+v", h, c)
	}
}
