package segment

import (
	"encoding/binary"
	"errors"
	"iter"
)

// ErrPayload says that a payload is not a sequence of messages behind their lengths.
var ErrPayload = errors.New("payload is not a sequence of length-prefixed messages")

// AppendMessage appends a message behind its length to a payload.
func AppendMessage(payload, message []byte) []byte {
	payload = binary.AppendUvarint(payload, uint64(len(message)))
	return append(payload, message...)
}

// Messages walks a payload. The messages alias it. After an error the walk ends.
func Messages(payload []byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for len(payload) > 0 {
			n, size := binary.Uvarint(payload)
			if size <= 0 || n == 0 || n > uint64(len(payload)-size) {
				yield(nil, ErrPayload)
				return
			}
			message := payload[size : size+int(n) : size+int(n)]
			payload = payload[size+int(n):]
			if !yield(message, nil) {
				return
			}
		}
	}
}
