package event

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidemark/internal/change"
	"tidemark/internal/position"
)

// TestStream publishes messages of tables with awkward names to a real JetStream server, and reads back where the stream
// ends.
func TestStream(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	js := connect(t)
	stream, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "TIDEMARK", Subjects: []string{"cdc.>"}, Storage: jetstream.MemoryStorage})
	must(t, err)
	long := ""
	for range 63 {
		long += "\xff"
	}
	e := encoder(t)
	var messages []Message
	for i, name := range []string{"a.*", ">", "$JS.API", "", " ", "a\tb", "é", long} {
		rel := &change.Relation{ID: uint32(i), Schema: "s", Name: name, Identity: change.IdentityNothing}
		if name == long { // not UTF-8: its document is refused, its subject is not
			messages = append(messages, Message{Subject: Subject("cdc", long, long, long, "insert"), Header: e.header(7)})
			continue
		}
		messages, err = e.Row(messages, change.Row{Ordinal: uint32(i), Op: change.Insert, Relation: rel, New: values()})
		must(t, err)
	}
	for twice := range 2 {
		for _, m := range messages {
			ack, err := js.PublishMsg(ctx, natsMessage(m))
			must(t, err)
			if ack.Duplicate != (twice == 1) {
				t.Errorf("%s: duplicate is %v", m.Subject, ack.Duplicate)
			}
		}
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter("cdc.app.s.*.insert"))
	must(t, err)
	if info.State.Msgs != 8 || len(info.State.Subjects) != 7 {
		t.Errorf("stream holds %d messages, of the schema %v", info.State.Msgs, info.State.Subjects)
	}
	last, err := stream.GetMsg(ctx, info.State.LastSeq)
	must(t, err)
	if p, err := ParsePosition(last.Header); err != nil || p != (position.Position{End: tx.End, Ordinal: 7}) {
		t.Errorf("position of the last message is %v, %v", p, err)
	}
}

func natsMessage(m Message) *nats.Msg {
	msg := nats.NewMsg(m.Subject)
	msg.Data = m.Data
	for name, value := range m.Header.Fields() {
		msg.Header.Set(name, value)
	}
	return msg
}

func connect(t *testing.T) jetstream.JetStream {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	must(t, err)
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not come up")
	}
	conn, err := nats.Connect(s.ClientURL())
	must(t, err)
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	must(t, err)
	return js
}
