package postgres

import (
	"bytes"
	"regexp"
	"strings"
)

// statement is one statement of a script, without the semicolon's trailing space.
type statement struct {
	text  []byte
	start int // byte in the script
}

// split cuts a script into statements at the semicolons that end them, as psql does: not in quotes, comments, dollar quotes or
// parentheses (rules), nor in the body of a SQL function (BEGIN ATOMIC … END). Lines that begin with a backslash where a
// statement may begin are psql's (pg_dump writes \restrict and \unrestrict) and are left out. A script that ends in the
// middle of a statement yields that as its last one.
func split(script []byte) []statement {
	var list []statement
	s := scanner{in: script}
	for {
		start := s.skipBlank()
		if start >= len(script) {
			return list
		}
		end := s.statement()
		list = append(list, statement{text: script[start:end], start: start})
	}
}

type scanner struct {
	in []byte
	at int
}

// skipBlank moves to the next byte of a statement, over space, comments, lone semicolons and psql's commands.
func (s *scanner) skipBlank() int {
	for s.at < len(s.in) {
		c := s.in[s.at]
		switch {
		case space(c), c == ';':
			s.at++
		case c == '\\':
			s.skipLine()
		case s.comment():
		default:
			return s.at
		}
	}
	return s.at
}

func (s *scanner) skipLine() {
	if i := bytes.IndexByte(s.in[s.at:], '\n'); i >= 0 {
		s.at += i + 1
		return
	}
	s.at = len(s.in)
}

// statement moves behind the statement's semicolon and returns that place.
func (s *scanner) statement() int {
	parens, blocks, words := 0, 0, 0
	create, routine := false, false // CREATE [OR REPLACE] FUNCTION or PROCEDURE: the only statements with a body of statements
	for s.at < len(s.in) {
		c := s.in[s.at]
		switch {
		case s.comment() || s.quoted():
		case c == '(':
			parens++
			s.at++
		case c == ')':
			parens = max(0, parens-1)
			s.at++
		case c == ';':
			s.at++
			if parens == 0 && blocks == 0 {
				return s.at
			}
		case letter(c):
			word := s.word()
			words++
			create = create || words == 1 && word == "CREATE"
			routine = routine || create && words <= 4 && (word == "FUNCTION" || word == "PROCEDURE")
			if routine && parens == 0 {
				blocks = max(0, blocks+s.depth(word, blocks))
			}
		default:
			s.at++
		}
	}
	return s.at
}

// depth is how a word, behind which the scanner stands, changes the depth of BEGIN ATOMIC … END: CASE has an END of its own.
func (s *scanner) depth(word string, blocks int) int {
	switch {
	case word == "BEGIN" && atomic.Match(s.in[s.at:]), word == "CASE" && blocks > 0:
		return 1
	case word == "END":
		return -1
	}
	return 0
}

var atomic = regexp.MustCompile(`^(?i:\s+ATOMIC\b)`)

func (s *scanner) word() string {
	start := s.at
	for s.at < len(s.in) && (letter(s.in[s.at]) || digit(s.in[s.at]) || s.in[s.at] == '$') {
		s.at++
	}
	return strings.ToUpper(string(s.in[start:s.at]))
}

// comment skips a comment, if there is one here.
func (s *scanner) comment() bool {
	rest := s.in[s.at:]
	if bytes.HasPrefix(rest, []byte("--")) {
		s.skipLine()
		return true
	}
	if !bytes.HasPrefix(rest, []byte("/*")) {
		return false
	}
	s.at += 2
	for nested := 1; nested > 0 && s.at < len(s.in); {
		switch rest := s.in[s.at:]; {
		case bytes.HasPrefix(rest, []byte("/*")):
			nested++
			s.at += 2
		case bytes.HasPrefix(rest, []byte("*/")):
			nested--
			s.at += 2
		default:
			s.at++
		}
	}
	return true
}

// quoted skips a string, quoted identifier or dollar-quoted string, if there is one here.
func (s *scanner) quoted() bool {
	switch c := s.in[s.at]; {
	case c == '\'' || c == '"':
		s.skipQuoted(c, c == '\'' && s.escapes())
	case c == '$':
		tag := dollarTag(s.in[s.at:])
		if tag == nil {
			return false
		}
		s.at += len(tag)
		if i := bytes.Index(s.in[s.at:], tag); i >= 0 {
			s.at += i + len(tag)
		} else {
			s.at = len(s.in)
		}
	default:
		return false
	}
	return true
}

func (s *scanner) skipQuoted(quote byte, escapes bool) {
	s.at++
	for s.at < len(s.in) {
		c := s.in[s.at]
		s.at++
		switch {
		case c == '\\' && escapes:
			s.at = min(s.at+1, len(s.in))
		case c == quote:
			if s.at >= len(s.in) || s.in[s.at] != quote { // a doubled quote stands for itself
				return
			}
			s.at++
		}
	}
}

// escapes reports whether the string that begins here is an E” string. Other strings know no escapes:
// pg_dump's scripts set standard_conforming_strings.
func (s *scanner) escapes() bool {
	if s.at == 0 || s.in[s.at-1] != 'E' && s.in[s.at-1] != 'e' {
		return false
	}
	return s.at == 1 || !letter(s.in[s.at-2]) && !digit(s.in[s.at-2]) && s.in[s.at-2] != '$'
}

func dollarTag(b []byte) []byte {
	for i := 1; i < len(b); i++ {
		switch c := b[i]; {
		case c == '$':
			return b[:i+1]
		case letter(c), digit(c) && i > 1:
		default:
			return nil
		}
	}
	return nil
}

func space(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

func digit(c byte) bool { return c >= '0' && c <= '9' }

func letter(c byte) bool { return c == '_' || c >= 0x80 || c|0x20 >= 'a' && c|0x20 <= 'z' }

// words returns the statement's first n words; words outside quotes in upper case, quoted identifiers as they stand.
func (st statement) words(n int) []string {
	s := scanner{in: st.text}
	var list []string
	for s.at < len(s.in) && len(list) < n {
		start := s.at
		switch c := s.in[s.at]; {
		case s.comment():
		case s.quoted():
			list = append(list, string(s.in[start:s.at]))
		case letter(c):
			list = append(list, s.word())
		default:
			s.at++
		}
	}
	return list
}

func hasPrefix(words []string, want ...string) bool {
	if len(words) <= len(want) { // a name follows
		return false
	}
	for i, w := range want {
		if words[i] != w {
			return false
		}
	}
	return true
}
