package interpreter

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// capture keeps the first and the last half of a stream within a budget of bytes
// and counts what it drops between them. It grows with what it is given, so that
// a small output costs little, and never beyond the budget.
type capture struct {
	headMax, tailMax int
	head, tail       []byte
	at               int // where the oldest byte of a full tail is
	total            int64
}

func newCapture(budget int) *capture {
	head := budget / 2
	return &capture{headMax: head, tailMax: budget - head}
}

// Write never fails.
func (c *capture) Write(p []byte) (int, error) {
	n := len(p)
	c.total += int64(n)
	if room := c.headMax - len(c.head); room > 0 {
		take := min(room, len(p))
		c.head = appendWithin(c.head, p[:take], c.headMax)
		p = p[take:]
	}
	if len(p) > c.tailMax {
		p = p[len(p)-c.tailMax:]
	}
	if room := c.tailMax - len(c.tail); room > 0 {
		take := min(room, len(p))
		c.tail = appendWithin(c.tail, p[:take], c.tailMax)
		p = p[take:]
	}
	for len(p) > 0 {
		k := copy(c.tail[c.at:], p)
		c.at = (c.at + k) % c.tailMax
		p = p[k:]
	}
	return n, nil
}

// appendWithin is append with a capacity that doubles but never exceeds most.
func appendWithin(b, p []byte, most int) []byte {
	if need := len(b) + len(p); need > cap(b) {
		grown := make([]byte, len(b), min(max(need, 2*cap(b), 512), most))
		copy(grown, b)
		b = grown
	}
	return append(b, p...)
}

// text returns what was captured and how many bytes were dropped. Each byte that
// is not UTF-8 reads as U+FFFD.
func (c *capture) text() (string, int64) {
	var b strings.Builder
	dropped := c.total - int64(len(c.head)) - int64(len(c.tail))
	if dropped == 0 {
		b.Grow(len(c.head) + len(c.tail))
		// The border between the two may be inside a character.
		b.Write(c.head)
		b.Write(c.tail)
		return validText(b.String()), 0
	}
	tail := make([]byte, 0, len(c.tail))
	tail = append(append(tail, c.tail[c.at:]...), c.tail[:c.at]...)
	head := trimEnd(c.head)
	kept := trimStart(tail)
	dropped += int64(len(c.head) - len(head) + len(tail) - len(kept))
	b.WriteString(validText(string(head)))
	fmt.Fprintf(&b, "\n... [%d bytes dropped] ...\n", dropped)
	b.WriteString(validText(string(kept)))
	return b.String(), dropped
}

// trimEnd cuts off a character whose end is missing.
func trimEnd(b []byte) []byte {
	for i := len(b) - 1; i >= 0 && i >= len(b)-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return b[:i]
			}
			break
		}
	}
	return b
}

// trimStart cuts off the rest of a character whose start is missing.
func trimStart(b []byte) []byte {
	for i := 0; i < len(b) && i < utf8.UTFMax; i++ {
		if utf8.RuneStart(b[i]) {
			return b[i:]
		}
	}
	return b
}

func validText(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for _, r := range s { // an invalid byte ranges as one U+FFFD
		b.WriteRune(r)
	}
	return b.String()
}
