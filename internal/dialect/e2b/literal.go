package e2b

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// jsonOfLiteral returns the list or dictionary whose repr is a text as JSON, as E2B's interpreter shows it; nil if JSON cannot have it. Kaa's values have
// no such form, because it would make all executions of lists slower.
func jsonOfLiteral(text string) json.RawMessage {
	if !strings.HasPrefix(text, "[") && !strings.HasPrefix(text, "{") {
		return nil
	}
	l := &literal{rest: text}
	if !l.value(1) || l.rest != "" {
		return nil
	}
	return l.out
}

// literal translates a literal of Python, which may be any text that code has made up.
type literal struct {
	rest string
	out  []byte
}

const (
	// deepestLiteral bounds the stack, and longestNumber what a client has to read: Python's refuses numbers of thousands of digits.
	deepestLiteral = 100
	longestNumber  = 64
)

// pythonNumber are the forms of numbers in a repr. Each is one of JSON, too.
var pythonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?(e[-+]?[0-9]+)?`)

// value translates one value. It reports whether there was one.
func (l *literal) value(level int) bool {
	if level > deepestLiteral || l.rest == "" {
		return false
	}
	switch l.rest[0] {
	case '[':
		return l.items(level, ']', '[', ']', l.value)
	case '(':
		return l.items(level, ')', '[', ']', l.value)
	case '{':
		return l.items(level, '}', '{', '}', l.member)
	case '\'', '"':
		return l.text()
	}
	for name, form := range map[string]string{"None": "null", "True": "true", "False": "false"} {
		if l.skip(name) {
			l.out = append(l.out, form...)
			return true
		}
	}
	number := pythonNumber.FindString(l.rest)
	l.rest, l.out = l.rest[len(number):], append(l.out, number...)
	return number != "" && len(number) <= longestNumber
}

// items translates the items between two brackets.
func (l *literal) items(level int, until, opening, closing byte, one func(int) bool) bool {
	l.rest, l.out = l.rest[1:], append(l.out, opening)
	for first := true; ; first = false {
		if l.skip(string(until)) {
			l.out = append(l.out, closing)
			return true
		}
		if !first {
			if until == ')' && l.skip(",)") { // a tuple of one item
				l.out = append(l.out, closing)
				return true
			}
			if !l.skip(", ") {
				return false
			}
			l.out = append(l.out, ',')
		}
		if !one(level + 1) {
			return false
		}
	}
}

// member translates a key, which must be a text, and its value.
func (l *literal) member(level int) bool {
	if l.rest == "" || l.rest[0] != '\'' && l.rest[0] != '"' || !l.text() || !l.skip(": ") {
		return false
	}
	l.out = append(l.out, ':')
	return l.value(level)
}

func (l *literal) skip(what string) bool {
	rest, ok := strings.CutPrefix(l.rest, what)
	l.rest = rest
	return ok
}

// text translates a text.
func (l *literal) text() bool {
	quote := l.rest[:1]
	l.rest = l.rest[1:]
	var text strings.Builder
	for {
		at := strings.IndexAny(l.rest, quote+`\`)
		if at < 0 {
			return false
		}
		text.WriteString(l.rest[:at])
		l.rest = l.rest[at:]
		if l.skip(quote) {
			break
		}
		c, ok := l.escape()
		if !ok {
			return false
		}
		text.WriteRune(c)
	}
	form, err := json.Marshal(text.String())
	l.out = append(l.out, form...)
	return err == nil
}

// escape reads a backslash and what follows it.
func (l *literal) escape() (rune, bool) {
	if len(l.rest) < 2 {
		return 0, false
	}
	kind := l.rest[1]
	l.rest = l.rest[2:]
	digits := 0
	switch kind {
	case '\\', '\'', '"':
		return rune(kind), true
	case 'n':
		return '\n', true
	case 'r':
		return '\r', true
	case 't':
		return '\t', true
	case 'x':
		digits = 2
	case 'u':
		digits = 4
	case 'U':
		digits = 8
	}
	if digits == 0 || len(l.rest) < digits {
		return 0, false
	}
	code, err := strconv.ParseUint(l.rest[:digits], 16, 31)
	l.rest = l.rest[digits:]
	c := rune(code)
	return c, err == nil && utf8.ValidRune(c)
}
