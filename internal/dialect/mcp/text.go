package mcp

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// mostText bounds the text of a result. Models read about four bytes as one token, and clients refuse results of 25,000 tokens.
const mostText = 32 << 10

// plain returns a text as a model can read it: without the escape sequences of terminals and other control characters, and with
// the last state of lines that were overwritten, such as progress bars.
func plain(text string) string {
	if !strings.ContainsFunc(text, isOdd) {
		return text
	}
	text = strings.ReplaceAll(text, "\r\n", "\n")
	var b strings.Builder
	b.Grow(len(text))
	for i, line := range strings.Split(text, "\n") {
		if i > 0 {
			b.WriteByte('\n')
		}
		parts := strings.Split(line, "\r")
		shown := parts[len(parts)-1]
		for n := len(parts) - 2; shown == "" && n >= 0; n-- {
			shown = parts[n]
		}
		b.WriteString(withoutEscapes(shown))
	}
	return b.String()
}

// isOdd reports whether a character is none of a text.
func isOdd(r rune) bool {
	return r != '\n' && r != '\t' && unicode.IsControl(r) || r == utf8.RuneError || isBidi(r)
}

// isBidi reports whether a character reorders text around it, so that a person reads something else than a model.
func isBidi(r rune) bool { return r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' }

// withoutEscapes removes escape sequences (ECMA-48) and control characters.
func withoutEscapes(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == 0x1b:
			i += escapeLength(text[i:])
			continue
		case r == utf8.RuneError:
			b.WriteRune(utf8.RuneError)
		case !isOdd(r):
			b.WriteRune(r)
		}
		i += size
	}
	return b.String()
}

// escapeLength is the length of the escape sequence at the beginning of a text.
func escapeLength(text string) int {
	if len(text) < 2 {
		return len(text)
	}
	switch text[1] {
	case '[': // parameters, then a letter
		for i := 2; i < len(text); i++ {
			if text[i] >= 0x40 && text[i] <= 0x7e {
				return i + 1
			}
		}
		return len(text)
	case ']', 'P', 'X', '^', '_': // a string up to BEL or ESC \
		if i := strings.IndexAny(text, "\a"); i >= 0 {
			return i + 1
		}
		if i := strings.Index(text[2:], "\x1b\\"); i >= 0 {
			return i + 4
		}
		return len(text)
	}
	return 2
}

// clip cuts a text to so many bytes.
func clip(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// cutMiddle leaves the head and the tail of a text that is longer than most bytes, and reports whether it was.
func cutMiddle(text string, most int) (string, bool) {
	if len(text) <= most {
		return text, false
	}
	head := strings.ToValidUTF8(text[:most/2], "")
	tail := strings.ToValidUTF8(text[len(text)-most/2:], "")
	// Whole lines are easier to read, if lines are not too long.
	if i := strings.LastIndexByte(head, '\n'); i > len(head)*3/4 {
		head = head[:i+1]
	}
	if i := strings.IndexByte(tail, '\n'); i >= 0 && i < len(tail)/4 {
		tail = tail[i+1:]
	}
	return fmt.Sprintf("%s\n… [%d bytes left out] …\n%s", head, len(text)-len(head)-len(tail), tail), true
}
