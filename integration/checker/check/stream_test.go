package check

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tidemark/internal/position"

	"tidemark/integration/checker/fold"
)

func newStream(t *testing.T, server *natsServer, name string) *Stream {
	t.Helper()
	return NewStream(StreamConfig{
		URL: server.url(), Name: name, Tables: historyTables, Bases: map[string]string{"public.blob": "bytea"}, Timeline: timeline(t), Log: slog.New(slog.DiscardHandler),
		Truth: func(table string, at position.LSN) (map[string]uint64, error) {
			return map[string]uint64{"1:2": fold.Hash("-1:23:NaN"), fmt.Sprintf("1:%d", at>>8): 0}, nil
		},
	})
}

// running is a checker that runs.
type running struct {
	stop context.CancelFunc
	done chan error
}

func run(t *testing.T, s *Stream) running {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	r := running{stop: cancel, done: make(chan error, 1)}
	go func() { r.done <- s.Run(ctx) }()
	return r
}

// end ends Run and gives its error; wait waits until it ends by itself.
func (r running) end() error { r.stop(); return r.wait() }

func (r running) wait() error { defer r.stop(); return <-r.done }

// reach waits until the checker has taken everything up to lsn.
func reach(t *testing.T, s *Stream, lsn position.LSN) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.Wait(ctx, lsn); err != nil {
		t.Fatal(err)
	}
}

func TestGoodStream(t *testing.T) {
	server := startNATS(t)
	s := newStream(t, server, "GOOD")
	checker := run(t, s) // before there is a stream
	server.publish(t, "GOOD", slices.Concat(history()...))
	reach(t, s, 0xFFFF)
	if s.Reached() != historyEnd {
		t.Errorf("the checker is at %s", s.Reached())
	}
	if err := checker.end(); !errors.Is(err, context.Canceled) {
		t.Errorf("run ended with %v", err)
	}
	got := s.Counts()
	if got["messages"] != 20 || got["rows"] != 13 || got["transactions"] != 5 || got["idle markers"] != 2 || got["sessions"] != 1 {
		t.Errorf("counts are %v", got)
	}
}

// TestBadStreams: each stream is wrong in one way, and the checker says in which.
func TestBadStreams(t *testing.T) {
	server := startNATS(t)
	drop := func(h [][]message, tx, i int) { h[tx] = slices.Delete(h[tx], i, i+1) }
	for name, c := range map[string]struct {
		change func(h [][]message)
		want   string
	}{
		"message twice":           {func(h [][]message) { h[1] = slices.Insert(h[1], 1, h[1][0]) }, "it is there twice"},
		"transaction twice":       {func(h [][]message) { h[1] = append(h[1], h[1]...) }, "comes after"},
		"marker twice":            {func(h [][]message) { h[1] = append(h[1], h[1][4]) }, "it is there twice"},
		"row behind the marker":   {func(h [][]message) { h[1][4], h[1][3] = h[1][3], h[1][4] }, "3 of 4 rows came"},
		"rows change places":      {func(h [][]message) { h[1][1], h[1][2] = h[1][2], h[1][1] }, "ordinal 1 is due"},
		"transactions too":        {func(h [][]message) { h[0], h[1] = h[1], h[0] }, "transaction 0/100 (xid 10) before it is missing"},
		"transactions in one":     {func(h [][]message) { h[0] = append(h[1][:1:1], h[0]...) }, "comes after"},
		"no marker":               {func(h [][]message) { drop(h, 1, 4) }, "transaction 0/200 before it has no end marker"},
		"first row missing":       {func(h [][]message) { drop(h, 1, 0) }, "ordinal 0 is due"},
		"row missing":             {func(h [][]message) { drop(h, 1, 2) }, "ordinal 2 is due"},
		"last row missing":        {func(h [][]message) { drop(h, 1, 3) }, "3 of 4 rows came"},
		"transaction missing":     {func(h [][]message) { h[4] = nil }, "transaction 0/400 (xid 14) before it is missing"},
		"first missing":           {func(h [][]message) { h[0] = nil }, "transaction 0/100 (xid 10) before it is missing"},
		"idle marker runs ahead":  {func(h [][]message) { h[5] = transaction(0x580, 0, 0, end("", 0)) }, "transaction 0/500 (xid 15) before it is missing"},
		"idle marker instead":     {func(h [][]message) { h[5] = transaction(0x500, 0, 0, end("", 0)) }, "its xid is 0, not 15"},
		"idle marker of nothing":  {func(h [][]message) { replace(h, 3, 0, "0/300", "0/310") }, "there is no such transaction"},
		"unknown transaction":     {func(h [][]message) { rename(h, 6, "0/600", "0/580") }, "there is no such transaction"},
		"xid":                     {func(h [][]message) { rename(h, 1, "11", "12") }, "its xid is 12, not 11"},
		"xid of one row":          {func(h [][]message) { replace(h, 1, 2, "11", "12") }, "not those of its transaction's first message"},
		"commit time":             {func(h [][]message) { rename(h, 1, "123456Z", "123457Z") }, "its commit time is"},
		"commit time in header":   {func(h [][]message) { h[1][0].header.Set("Tidemark-Commit-Time", "2026-03-01T12:00:00Z") }, "header Tidemark-Commit-Time"},
		"id":                      {func(h [][]message) { h[1][0].header.Set("Nats-Msg-Id", "73/0/200/7") }, "header Nats-Msg-Id"},
		"no id":                   {func(h [][]message) { h[1][0].header.Del("Nats-Msg-Id") }, "header Nats-Msg-Id"},
		"position":                {func(h [][]message) { h[1][0].header.Set(headerPosition, "0/200:1") }, "header Tidemark-Position"},
		"system":                  {func(h [][]message) { replace(h, 1, 0, `73`, `74`) }, `it is of system "74"`},
		"database":                {func(h [][]message) { replace(h, 1, 0, `"database":"app"`, `"database":"other"`) }, `it is of database "other"`},
		"subject of another op":   {func(h [][]message) { h[1][0].subject = ".app.s.keyed.insert" }, "its subject is"},
		"subject not escaped":     {func(h [][]message) { h[4][0].subject = ".app.Mix.ed.It_ems.insert" }, "its subject is"},
		"subject escaped badly":   {func(h [][]message) { h[4][0].subject = ".app.Mix%2eed.It%20ems.insert" }, "its subject is"},
		"marker counts":           {func(h [][]message) { replace(h, 1, 4, `"insert":2`, `"insert":1`) }, "2 times insert of s.full came, the marker says 1"},
		"marker has a table less": {func(h [][]message) { replace(h, 1, 4, `"s.keyed":{"update":1},`, ``) }, "1 times update of s.keyed came, the marker says 0"},
		"marker has an op more":   {func(h [][]message) { replace(h, 1, 4, `"insert":2`, `"insert":2,"delete":1`) }, "0 times delete of s.full came"},
		"marker quotes not":       {func(h [][]message) { replace(h, 4, 4, `\"Mix.ed\"`, `Mix.ed`) }, "the marker says"},
		"marker rows": {func(h [][]message) {
			replace(h, 1, 4, `"commit","database":"app","rows":4`, `"commit","database":"app","rows":5`)
		}, "it says 5 rows"},
		"part of a transaction": {func(h [][]message) {
			h[0] = transaction(0x100, 10, 1, change("insert", "s", "keyed", `"key":{"id":1},"before":null,"after":{"a":"long","id":1,"n":"1.50"},"unchanged":[]`), end(`"s.keyed":{"insert":1}`, 1))
		}, "1 times insert of s.keyed came, the reference log says 2"},
		"truncate of one table": {func(h [][]message) {
			h[5] = transaction(0x500, 15, 1, change("truncate", "s", "full", `"key":{},"before":null,"after":null,"unchanged":[]`), end(`"s.full":{"truncate":1}`, 1))
		}, "0 times truncate of s.keyed came, the reference log says 1"},
		"value": {func(h [][]message) { replace(h, 0, 0, "long", "lonG") }, `s.keyed has 2 rows with other contents: key "1:1" is different`},
		"null":  {func(h [][]message) { replace(h, 0, 0, `"long"`, "null") }, "s.keyed has 2 rows with other contents"},
		"unchanged as null": {func(h [][]message) {
			replace(h, 1, 0, `"n":"2"},"unchanged":["a"]`, `"a":null,"n":"2"},"unchanged":[]`)
		}, "s.keyed has 2 rows with other contents"},
		"spaces in jsonb":    {func(h [][]message) { replace(h, 1, 2, `[1, 2]`, `[1,2]`) }, "it does not fit what came before|s.full has 2 rows with other contents"},
		"old key ignored":    {func(h [][]message) { replace(h, 1, 0, `"before":{"id":1}`, `"before":null`) }, "it does not fit what came before"},
		"old row of another": {func(h [][]message) { replace(h, 1, 3, `"before":{"a":"x\ty"`, `"before":{"a":"x\tz"`) }, "it does not fit what came before"},
		"old row in part":    {func(h [][]message) { replace(h, 1, 3, `"before":{"a":"x\ty",`, `"before":{`) }, `column "a" is missing before the change`},
		"no old row":         {func(h [][]message) { replace(h, 4, 1, `"before":{"id":2}`, `"before":null`) }, "a delete has the row before"},
		"key of another row": {func(h [][]message) { replace(h, 4, 1, `"key":{"id":2}`, `"key":{"id":1}`) }, "of the key is missing or not the row's"},
		"no key":             {func(h [][]message) { replace(h, 4, 1, `"key":{"id":2}`, `"key":{}`) }, "the key is missing"},
		"other key columns":  {func(h [][]message) { replace(h, 0, 0, `"key":{"id":1}`, `"key":{"a":"long"}`) }, "of the key is missing or not the row's"},
		"column missing":     {func(h [][]message) { replace(h, 0, 0, `,"n":"1.50"`, ``) }, `column "n" is missing after the change`},
		"column too many":    {func(h [][]message) { replace(h, 0, 0, `,"n":"1.50"`, `,"n":"1.50","m":1`) }, `there is no column "m"`},
		"unchanged yet sent": {func(h [][]message) { replace(h, 1, 0, `"unchanged":["a"]`, `"unchanged":["a","n"]`) }, `column "n" is unchanged and there as well`},
		"number as string":   {func(h [][]message) { replace(h, 0, 0, `"n":"1.50"`, `"n":1.50`) }, `column "n": the value is not written as its type is`},
		"table": {func(h [][]message) {
			replace(h, 0, 0, `"table":"keyed"`, `"table":"k"`)
			h[0][0].subject = ".app.s.k.insert"
		}, "there is no such table"},
		"operation": {func(h [][]message) {
			replace(h, 0, 0, `"op":"insert"`, `"op":"read"`)
			h[0][0].subject = ".app.s.keyed.read"
		}, "there is no such operation"},
		"no document": {func(h [][]message) { h[1][0].data = []byte(`{`) }, "is no document"},
	} {
		t.Run(name, func(t *testing.T) {
			h := history()
			c.change(h)
			violated(t, server, slices.Concat(h...), nil, strings.Split(c.want, "|"))
		})
	}
}

// TestVanished: messages that the server no longer has.
func TestVanished(t *testing.T) {
	server := startNATS(t)
	for n, list := range map[uint64][]uint64{1: {1}, 4: {4, 5}} {
		violated(t, server, slices.Concat(history()...), func(ctx context.Context, s jetstream.Stream) error {
			for _, sequence := range list {
				if err := s.DeleteMsg(ctx, sequence); err != nil {
					return err
				}
			}
			return nil
		}, []string{fmt.Sprintf("messages %d to %d of the stream have vanished", n, list[len(list)-1])})
	}
}

var streams int

// violated publishes a bad stream and expects the checker to find one of the wanted violations, without any value in it.
func violated(t *testing.T, server *natsServer, list []message, damage func(context.Context, jetstream.Stream) error, want []string) {
	t.Helper()
	streams++
	name := fmt.Sprintf("BAD%d", streams)
	server.publish(t, name, list)
	server.with(t, func(ctx context.Context, js jetstream.JetStream) error {
		s, err := js.Stream(ctx, name)
		if err != nil || damage == nil {
			return err
		}
		return damage(ctx, s)
	})
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	s := newStream(t, server, name)
	err := s.Run(ctx)
	var v *Violation
	if !errors.As(err, &v) || !slices.ContainsFunc(want, func(w string) bool { return strings.Contains(v.Detail, w) }) {
		t.Errorf("found %v, want %q", err, want)
	}
	if again := s.Run(ctx); again != err {
		t.Errorf("found %v when it ran again", again)
	}
}

// rename replaces text in all messages of a transaction.
func rename(h [][]message, tx int, old, with string) {
	for i := range h[tx] {
		replace(h, tx, i, old, with)
	}
}

// TestRestart: the server is killed and comes back on the same data, while the stream is followed.
func TestRestart(t *testing.T) {
	server := startNATS(t)
	s := newStream(t, server, "RESTART")
	checker := run(t, s)
	h := history()
	server.publish(t, "RESTART", append(slices.Concat(h[:4]...), h[4][:2]...)) // ends within a transaction
	reach(t, s, 0x300)
	server.kill()
	server.start(t)
	server.publish(t, "RESTART", append(h[4][2:], slices.Concat(h[5:]...)...))
	reach(t, s, 0xFFFF)
	if err := checker.end(); !errors.Is(err, context.Canceled) {
		t.Errorf("run ended with %v", err)
	}
	if got := s.Counts(); got["messages"] != 20 || got["sessions"] < 2 {
		t.Errorf("counts are %v", got)
	}
}

// TestLostEnd: the server lost the end of the stream. The same messages may come again, others may not.
func TestLostEnd(t *testing.T) {
	server := startNATS(t)
	h := history()
	all := slices.Concat(h...)
	altered := func(alter func(m *message)) []message {
		again := slices.Clone(all[15:])
		again[0].data, again[0].header = bytes.Clone(again[0].data), maps.Clone(again[0].header)
		alter(&again[0])
		return again
	}
	for name, c := range map[string]struct {
		again []message
		want  string
	}{
		"SAME":    {all[15:], ""},
		"OTHER":   {slices.Concat(all[15:16], all[17:]), "message 17 is now"},
		"SKIPPED": {all[16:], "message 16 is now"},
		"BYTES":   {altered(func(m *message) { m.data = append(m.data, '\n') }), "message 16, 0/500:0, came again with other bytes"},
		"VALUE":   {altered(func(m *message) { m.data = bytes.Replace(m.data, []byte(`"op"`), []byte(`"op" `), 1) }), "other bytes"},
		"SUBJECT": {altered(func(m *message) { m.subject += "x" }), "other bytes"},
		"ID":      {altered(func(m *message) { m.header.Set("Nats-Msg-Id", "73/0/500/1x") }), "other bytes"},
	} {
		s := newStream(t, server, name)
		checker := run(t, s)
		server.publish(t, name, all[:18])
		reach(t, s, 0x500)
		_ = checker.end()
		server.with(t, func(ctx context.Context, js jetstream.JetStream) error { return js.DeleteStream(ctx, name) })
		server.publish(t, name, all[:15])
		checker = run(t, s)
		await(t, func() bool { return s.Counts()["lost by the server"] == 3 })
		server.publish(t, name, c.again)
		if c.want == "" {
			reach(t, s, historyEnd)
			if err := checker.end(); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: run ended with %v", name, err)
			}
			continue
		}
		var v *Violation
		if err := checker.wait(); !errors.As(err, &v) || !strings.Contains(v.Detail, c.want) {
			t.Errorf("%s: found %v, want %s", name, err, c.want)
		}
	}
}

// TestStreamIsGone: a stream that was there must not go.
func TestStreamIsGone(t *testing.T) {
	server := startNATS(t)
	s := newStream(t, server, "GONE")
	checker := run(t, s)
	server.publish(t, "GONE", slices.Concat(history()...))
	reach(t, s, historyEnd)
	_ = checker.end()
	server.with(t, func(ctx context.Context, js jetstream.JetStream) error { return js.DeleteStream(ctx, "GONE") })
	var v *Violation
	if err := s.Run(t.Context()); !errors.As(err, &v) || !strings.Contains(v.Detail, "the stream is gone") {
		t.Errorf("found %v", err)
	}
}

// TestTimelineBehind: an end marker waits for the reference log, and nothing is lost when the checker ends meanwhile.
func TestTimelineBehind(t *testing.T) {
	server := startNATS(t)
	s := newStream(t, server, "BEHIND")
	whole := s.cfg.Timeline
	s.cfg.Timeline = fold.NewTimeline(historyTables)
	server.publish(t, "BEHIND", slices.Concat(history()...))
	checker := run(t, s)
	await(t, func() bool { return s.Counts()["messages"] == 2 })
	if err := checker.end(); !errors.Is(err, context.Canceled) || s.Reached() != 0 {
		t.Errorf("run ended with %v at %s", err, s.Reached())
	}
	s.cfg.Timeline = whole
	checker = run(t, s)
	reach(t, s, historyEnd)
	_ = checker.end()
}

func await(t *testing.T, f func() bool) {
	t.Helper()
	for begun := time.Now(); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > 60*time.Second {
			t.Fatal("it did not happen within a minute")
		}
	}
}
