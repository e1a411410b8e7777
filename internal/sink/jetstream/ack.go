package jetstream

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// codeWrongLastID is JSStreamWrongLastMsgIDErrF of nats-server; the client library does not name it.
const codeWrongLastID = 10070

// errSequence says that the stream's last message is not the one that we left there: another publisher writes
// to it, or a message of ours was stored whose acknowledgement was lost.
var errSequence = errors.New("stream has another last message than expected")

// acknowledgement is the server's reply to a publish (ADR-13 of nats-io/nats-architecture-and-design).
type acknowledgement struct {
	Stream    string              `json:"stream"`
	Sequence  uint64              `json:"seq"`
	Duplicate bool                `json:"duplicate"`
	Error     *jetstream.APIError `json:"error"`
}

// acknowledged returns nil when m says that the message was stored with the sequence want.
func acknowledged(m *nats.Msg, want uint64) error {
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		return jetstream.ErrNoStreamResponse
	}
	var a acknowledgement
	if err := json.Unmarshal(m.Data, &a); err != nil {
		return jetstream.ErrInvalidJSAck
	}
	switch {
	case a.Error != nil && (a.Error.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || a.Error.ErrorCode == codeWrongLastID):
		return fmt.Errorf("%w: %s", errSequence, a.Error.Description)
	case a.Error != nil:
		return a.Error
	case a.Stream == "":
		return jetstream.ErrInvalidJSAck
	case a.Duplicate:
		return fmt.Errorf("message %d was taken for a repetition of %d", want, a.Sequence)
	case a.Sequence != want:
		return fmt.Errorf("message %d was stored as %d", want, a.Sequence)
	}
	return nil
}
