package event

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"tidemark/internal/change"
)

// ErrUnencodable says that a row cannot be written as JSON without changing it. Trying again gives the same.
var ErrUnencodable = errors.New("value cannot be written as JSON")

var (
	errUTF8   = fmt.Errorf("%w: its bytes are not UTF-8", ErrUnencodable)
	errBinary = fmt.Errorf("%w: it came in binary form", ErrUnencodable)
	errBool   = fmt.Errorf("%w: it is no boolean as PostgreSQL writes it", ErrUnencodable)
	errJSON   = fmt.Errorf("%w: it is no valid JSON, or nests deeper than 10000", ErrUnencodable)
	errHex    = fmt.Errorf("%w: it is no bytea in hex form", ErrUnencodable)
)

// form is how a column's values are written.
type form uint8

const (
	formText form = iota
	formNumber
	formBool
	formJSON
	formBytes
)

// formOf looks at the built-in type (pg_type.dat), or at a domain's base type, whose name the source sends as the
// domain's.
func formOf(c change.Column) form {
	switch c.Type {
	case 21, 23, 700, 701: // int2, int4, float4, float8
		return formNumber
	case 16:
		return formBool
	case 114, 3802:
		return formJSON
	case 17:
		return formBytes
	}
	switch c.TypeName {
	case "pg_catalog.int2", "pg_catalog.int4", "pg_catalog.float4", "pg_catalog.float8":
		return formNumber
	case "pg_catalog.bool":
		return formBool
	case "pg_catalog.json", "pg_catalog.jsonb":
		return formJSON
	case "pg_catalog.bytea":
		return formBytes
	}
	return formText
}

// appendValue appends a value as JSON. scratch is a reused buffer.
func appendValue(dst []byte, v change.Value, f form, scratch *[]byte) ([]byte, error) {
	if v.Kind == change.Null {
		return append(dst, "null"...), nil
	}
	if v.Kind != change.Text {
		return dst, errBinary
	}
	switch f {
	case formNumber:
		if isNumber(v.Data) {
			return append(dst, v.Data...), nil
		}
		return appendText(dst, v.Data) // NaN, Infinity, -Infinity
	case formBool:
		return appendBool(dst, v.Data)
	case formJSON:
		if !utf8.Valid(v.Data) {
			return dst, errUTF8
		}
		if !json.Valid(v.Data) {
			return dst, errJSON
		}
		return append(dst, v.Data...), nil
	case formBytes:
		return appendBase64(dst, v.Data, scratch)
	}
	return appendText(dst, v.Data)
}

func appendBool(dst, data []byte) ([]byte, error) {
	switch string(data) {
	case "t":
		return append(dst, "true"...), nil
	case "f":
		return append(dst, "false"...), nil
	}
	return dst, errBool
}

func appendBase64(dst, data []byte, scratch *[]byte) ([]byte, error) {
	if len(data) < 2 || data[0] != '\\' || data[1] != 'x' {
		return dst, errHex
	}
	raw, err := hex.AppendDecode((*scratch)[:0], data[2:])
	*scratch = raw
	if err != nil {
		return dst, errHex // its own error quotes the value
	}
	dst = base64.StdEncoding.AppendEncode(append(dst, '"'), raw)
	return append(dst, '"'), nil
}

func appendText(dst, data []byte) ([]byte, error) {
	if !utf8.Valid(data) {
		return dst, errUTF8
	}
	return appendString(dst, data), nil
}

const lowerHex = "0123456789abcdef"

// appendString appends valid UTF-8 as a JSON string. It escapes what JSON demands and nothing else.
func appendString(dst, s []byte) []byte {
	dst = append(dst, '"')
	start := 0
	for i, c := range s {
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', lowerHex[c>>4], lowerHex[c&15])
		}
	}
	return append(append(dst, s[start:]...), '"')
}

// isNumber reports whether b is a number by JSON's grammar. PostgreSQL's integers and finite floats all are.
func isNumber(b []byte) bool {
	if len(b) > 0 && b[0] == '-' {
		b = b[1:]
	}
	whole := digits(b)
	if whole == 0 || whole > 1 && b[0] == '0' {
		return false
	}
	b = b[whole:]
	if len(b) > 0 && b[0] == '.' {
		n := digits(b[1:])
		if n == 0 {
			return false
		}
		b = b[1+n:]
	}
	if len(b) > 0 && (b[0] == 'e' || b[0] == 'E') {
		b = b[1:]
		if len(b) > 0 && (b[0] == '+' || b[0] == '-') {
			b = b[1:]
		}
		n := digits(b)
		return n > 0 && n == len(b)
	}
	return len(b) == 0
}

func digits(b []byte) int {
	for i, c := range b {
		if c < '0' || c > '9' {
			return i
		}
	}
	return len(b)
}
