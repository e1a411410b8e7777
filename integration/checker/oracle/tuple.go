package oracle

import (
	"strings"

	"tidemark/integration/checker/fold"
)

// field is a column of a tuple, as it stands in a message: name[type]:value.
type field struct {
	name      string
	value     fold.Value
	unchanged bool // the value was TOASTed and is not sent
}

// tuple is a row in a message. It may have no field: a table may have no column.
type tuple struct {
	there  bool
	fields []field
}

// tuples reads the values of a change. An old tuple leaves out columns that are NULL.
func (l line) tuples() (before, after tuple, err error) {
	c := &cursor{s: l.values}
	switch l.op {
	case fold.Delete:
		before, err = c.tuple("")
	case fold.Update:
		if c.take(" old-key:") {
			if before, err = c.tuple(" new-tuple:"); err != nil {
				return before, after, err
			}
		}
		after, err = c.tuple("")
	default:
		after, err = c.tuple("")
	}
	return before, after, err
}

// cursor reads a message from the left.
type cursor struct {
	s  string
	at int
}

// take skips a text if it stands here.
func (c *cursor) take(text string) bool {
	if !strings.HasPrefix(c.s[c.at:], text) {
		return false
	}
	c.at += len(text)
	return true
}

// tuple reads fields up to an end mark, which cannot be a field's begin, or up to the message's end.
func (c *cursor) tuple(end string) (tuple, error) {
	if end == "" && c.s[c.at:] == " (no-tuple-data)" {
		c.at = len(c.s)
		return tuple{}, nil
	}
	t := tuple{there: true}
	for {
		if end != "" && c.take(end) {
			return t, nil
		}
		if c.at == len(c.s) {
			if end != "" {
				return t, bad("no new tuple", c.at)
			}
			return t, nil
		}
		f, err := c.field()
		if err != nil {
			return t, err
		}
		t.fields = append(t.fields, f)
	}
}

func (c *cursor) field() (f field, err error) {
	if !c.take(" ") {
		return f, bad("no column", c.at)
	}
	if f.name, err = c.identifier(); err != nil {
		return f, err
	}
	if !c.take("[") {
		return f, bad("no type", c.at)
	}
	if err := c.typeName(); err != nil {
		return f, err
	}
	if !c.take(":") {
		return f, bad("no value", c.at)
	}
	return f, c.value(&f)
}

// typeName skips a type's name up to the bracket that closes it. Array types end in a pair of brackets of their own, and the
// parts of a name may be quoted.
func (c *cursor) typeName() error {
	for c.at < len(c.s) {
		switch c.s[c.at] {
		case '"':
			if _, err := c.quoted('"'); err != nil {
				return err
			}
		case '[':
			if !c.take("[]") {
				return bad("no array type", c.at)
			}
		case ']':
			c.at++
			return nil
		default:
			c.at++
		}
	}
	return bad("no end of the type's name", c.at)
}

// value reads a value. Numbers stand as they are, whatever else is in quotes; so an unquoted word is no text.
func (c *cursor) value(f *field) error {
	if strings.HasPrefix(c.s[c.at:], "B'") { // a bit string
		c.at++
	}
	if strings.HasPrefix(c.s[c.at:], "'") {
		v, err := c.quoted('\'')
		v = strings.Clone(v) // the message need not stay in memory
		f.value = &v
		return err
	}
	end := strings.IndexByte(c.s[c.at:], ' ')
	if end < 0 {
		end = len(c.s) - c.at
	}
	word := c.s[c.at : c.at+end]
	c.at += end
	switch word {
	case "":
		return bad("no value", c.at)
	case "null":
		return nil
	case "unchanged-toast-datum":
		f.unchanged = true
		return nil
	case "true":
		word = "t"
	case "false":
		word = "f"
	}
	word = strings.Clone(word)
	f.value = &word
	return nil
}

// name reads a table's qualified name.
func (c *cursor) name() (n name, err error) {
	if n.schema, err = c.identifier(); err != nil {
		return n, err
	}
	if !c.take(".") {
		return n, bad("no schema", c.at)
	}
	n.table, err = c.identifier()
	return n, err
}

// identifier reads a name. One that is not quoted has only these characters (quote_identifier in PostgreSQL's ruleutils.c).
func (c *cursor) identifier() (string, error) {
	if c.at < len(c.s) && c.s[c.at] == '"' {
		return c.quoted('"')
	}
	begin := c.at
	for c.at < len(c.s) && (c.s[c.at] == '_' || c.s[c.at] >= 'a' && c.s[c.at] <= 'z' || c.s[c.at] >= '0' && c.s[c.at] <= '9') {
		c.at++
	}
	if c.at == begin {
		return "", bad("no name", c.at)
	}
	return c.s[begin:c.at], nil
}

// quoted reads a text in quotes, in which a quote is written twice.
func (c *cursor) quoted(quote byte) (string, error) {
	begin := c.at + 1
	for at := begin; ; {
		n := strings.IndexByte(c.s[min(at, len(c.s)):], quote)
		if n < 0 {
			return "", bad("no closing quote", c.at)
		}
		at += n + 1
		if at < len(c.s) && c.s[at] == quote {
			at++
			continue
		}
		text := c.s[begin : at-1]
		c.at = at
		q := string(quote)
		if strings.Contains(text, q) {
			return strings.ReplaceAll(text, q+q, q), nil
		}
		return text, nil
	}
}
