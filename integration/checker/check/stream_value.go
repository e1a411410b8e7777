package check

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"

	"tidemark/integration/checker/fold"
)

var errValue = errors.New("the value is not written as its type is")

// value turns a JSON value back into what the type's output function gives. json and jsonb come letter for letter, in
// jsonb's own spacing, so their text is the value; JSON null and SQL NULL look the same and are taken as NULL. Which type
// a number or a boolean is of does not matter to its text.
func value(raw json.RawMessage, typ string) (fold.Value, error) {
	s := string(raw)
	switch {
	case s == "":
		return nil, errValue
	case s == "null":
		return nil, nil
	case typ == "json" || typ == "jsonb":
		return &s, nil
	case typ == "bytea":
		return decodeBytes(raw)
	case s[0] == '"':
		return decodeText(raw)
	case s == "true" || s == "false":
		s = s[:1]
	case isString[typ]:
		return nil, errValue
	}
	return &s, nil
}

// isString has the numbers that are written as strings, because many readers would round them.
var isString = map[string]bool{"bigint": true, "numeric": true}

// decodeText reads a string. One without escapes, which most are, is its own text.
func decodeText(raw json.RawMessage) (fold.Value, error) {
	s := string(raw[1 : len(raw)-1])
	if bytes.IndexByte(raw, '\\') < 0 {
		return &s, nil
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, errValue
	}
	return &s, nil
}

func decodeBytes(raw json.RawMessage) (fold.Value, error) {
	var b64 string
	if err := json.Unmarshal(raw, &b64); err != nil {
		return nil, errValue
	}
	data, err := base64.StdEncoding.DecodeString(b64)
	if err != nil {
		return nil, errValue
	}
	s := `\x` + hex.EncodeToString(data)
	return &s, nil
}
