package capture

import (
	"bytes"
	"slices"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/kaa-run/kaa/internal/job"
)

// capture keeps the first and the last half of a stream within a budget of bytes
// and counts what it drops between them. It grows with what it is given, so that
// a small output costs little, and never beyond the budget.
type capture struct {
	budget           int
	headMax, tailMax int // parts of it; less if there was no room
	head, tail       []byte
	at               int // where the oldest byte of a full tail is
	total            int64
	room             *Room // that it takes what it grows by from; nil for any
	taken            int64
}

// Room is how much memory the output of all executions together may take. Methods are safe for
// concurrent use, and on nil.
type Room struct{ left atomic.Int64 }

// NewRoom makes one of so many bytes; nil, for any number, if that is not above 0.
func NewRoom(size int64) *Room {
	if size <= 0 {
		return nil
	}
	r := new(Room)
	r.left.Store(size)
	return r
}

func (r *Room) take(n int64) bool {
	if r == nil || n <= 0 {
		return true
	}
	if r.left.Add(-n) < 0 {
		r.left.Add(n)
		return false
	}
	return true
}

func (r *Room) give(n int64) {
	if r != nil {
		r.left.Add(n)
	}
}

// free is what any output may take although there is no room: what most executions write.
const free = 16 << 10

func newCapture(budget int) *capture {
	head := budget / 2
	return &capture{budget: budget, headMax: head, tailMax: budget - head}
}

// Write never fails.
func (c *capture) Write(p []byte) (int, error) {
	n := len(p)
	c.total += int64(n)
	c.makeRoom(len(p))
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

// makeRoom takes the room for n bytes more, or lowers the budget to what there is room for.
func (c *capture) makeRoom(n int) {
	if c.room == nil {
		return
	}
	head := min(n, max(0, c.headMax-len(c.head)))
	if more := grownBy(c.head, head, c.headMax); !c.takeRoom(more) {
		c.headMax = min(c.headMax, max(cap(c.head), free/2))
		head = min(head, max(0, c.headMax-len(c.head)))
	}
	if more := grownBy(c.tail, min(n-head, c.tailMax-len(c.tail)), c.tailMax); !c.takeRoom(more) {
		c.tailMax = min(c.tailMax, max(cap(c.tail), free/2))
	}
}

func (c *capture) takeRoom(n int) bool {
	if n <= free/2 && c.taken == 0 {
		return true
	}
	if !c.room.take(int64(n)) {
		return false
	}
	c.taken += int64(n)
	return true
}

// giveRoom gives back what was taken. What is kept must not be used any more.
func (c *capture) giveRoom() {
	c.room.give(c.taken)
	c.taken = 0
}

// capacity is that of a buffer for so many bytes, of a budget. It grows by four times, so that
// what it has outgrown is little.
func capacity(b []byte, need, most int) int {
	if need <= cap(b) {
		return cap(b)
	}
	return min(max(need, 4*cap(b), 512), most)
}

func grownBy(b []byte, n, most int) int { return capacity(b, len(b)+max(n, 0), most) - cap(b) }

// appendWithin is append with a capacity that never exceeds most.
func appendWithin(b, p []byte, most int) []byte {
	if need := len(b) + len(p); need > cap(b) {
		grown := make([]byte, len(b), capacity(b, need, most))
		copy(grown, b)
		b = grown
	}
	return append(b, p...)
}

// between gives n bytes of what was written, from the one at the place from on, as far as
// there still are.
func (c *capture) between(from, n int64, text func([]byte), skipped func(int64)) {
	parts := [][]byte{c.head, nil, c.tail[c.at:], c.tail[:c.at]}
	to, start := from+n, int64(0)
	for i, part := range parts {
		size := int64(len(part))
		if i == 1 {
			size = c.total - int64(len(c.head)) - int64(len(c.tail))
		}
		switch low, high := max(from, start), min(to, start+size); {
		case low >= high:
		case part == nil:
			skipped(high - low)
		default:
			text(part[low-start : high-start])
		}
		start += size
	}
}

// keptText is what was captured, without characters of which a part was dropped.
type keptText struct {
	head, tail []byte // all is in head if nothing was dropped
	dropped    int64
}

func (c *capture) kept() keptText {
	dropped := c.total - int64(len(c.head)) - int64(len(c.tail))
	isLong := asJSON*(len(c.head)+len(c.tail)) > inJSON*(c.headMax+c.tailMax) &&
		jsonLen(c.head)+jsonLen(c.tail) > inJSON*(c.headMax+c.tailMax)
	if dropped == 0 && !isLong {
		// The border between the two may be inside a character.
		if len(c.tail) == 0 {
			return keptText{head: c.head}
		}
		return keptText{head: append(append(make([]byte, 0, len(c.head)+len(c.tail)), c.head...), c.tail...)}
	}
	c.straighten()
	head, tail := c.head, c.tail
	if isLong {
		head, tail = jsonStart(head, inJSON*c.headMax), jsonEnd(tail, inJSON*c.tailMax)
	}
	k := keptText{head: trimEnd(head), tail: trimStart(tail)}
	k.dropped = c.total - int64(len(k.head)) - int64(len(k.tail))
	return k
}

// straighten puts the oldest byte of the tail first, in place: it may be large.
func (c *capture) straighten() {
	if c.at != 0 {
		slices.Reverse(c.tail[:c.at])
		slices.Reverse(c.tail[c.at:])
		slices.Reverse(c.tail)
		c.at = 0
	}
}

const (
	// What is kept takes at most inJSON times the budget as JSON: text with a line break or
	// a quote for every other byte is kept whole, and bytes that are no text are not six
	// times as much to everything that passes the result on.
	inJSON = 2
	// asJSON is what a byte takes there at most.
	asJSON = 6
)

// jsonByte returns how many bytes one of text takes as JSON. Those of characters
// beyond ASCII take themselves.
func jsonByte(b byte) int {
	switch {
	case b == '"' || b == '\\' || b == '\n' || b == '\r' || b == '\t':
		return 2
	case b < ' ':
		return asJSON
	default:
		return 1
	}
}

// jsonLen is how many bytes text takes as JSON.
func jsonLen(text []byte) int {
	n := 0
	for _, b := range text {
		n += jsonByte(b)
	}
	if !utf8.Valid(text) {
		n += int(validLen(text)) - len(text)
	}
	return n + 3*(bytes.Count(text, []byte("\u2028"))+bytes.Count(text, []byte("\u2029")))
}

// jsonRune is jsonByte for a character beyond ASCII.
func jsonRune(r rune) int {
	if r == '\u2028' || r == '\u2029' { // encoding/json escapes them
		return asJSON
	}
	return utf8.RuneLen(r)
}

// jsonStart returns what of the beginning of text takes at most so many bytes as JSON.
func jsonStart(text []byte, most int) []byte {
	n := 0
	for i := 0; i < len(text); {
		size := 1
		if text[i] < utf8.RuneSelf {
			n += jsonByte(text[i])
		} else {
			r, width := utf8.DecodeRune(text[i:])
			n, size = n+jsonRune(r), width
		}
		if n > most {
			return text[:i]
		}
		i += size
	}
	return text
}

// jsonEnd returns what of the end of text takes at most so many bytes as JSON.
func jsonEnd(text []byte, most int) []byte {
	n := 0
	for i := len(text); i > 0; {
		size := 1
		if text[i-1] < utf8.RuneSelf {
			n += jsonByte(text[i-1])
		} else {
			r, width := utf8.DecodeLastRune(text[:i])
			n, size = n+jsonRune(r), width
		}
		if n > most {
			return text[i:]
		}
		i -= size
	}
	return text
}

// String returns it with a note of what was dropped. Each byte that is not UTF-8 reads as
// U+FFFD.
func (k keptText) String() string {
	var b strings.Builder
	note := ""
	if k.dropped > 0 {
		note = job.DroppedNote(k.dropped)
	}
	b.Grow(int(validLen(k.head)+validLen(k.tail)) + len(note)) // once, since it may be much
	writeValid(&b, k.head)
	b.WriteString(note)
	writeValid(&b, k.tail)
	return b.String()
}

// writeValid writes text with U+FFFD for each byte that is not UTF-8.
func writeValid(b *strings.Builder, text []byte) {
	if utf8.Valid(text) {
		b.Write(text)
		return
	}
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		b.WriteRune(r)
		text = text[size:]
	}
}

// between returns how many bytes of String are of those from one place of the stream to
// another: before what was dropped and after it, and how many of them were dropped. A
// character belongs to where it begins.
func (k keptText) between(from, to int64) (head, dropped, tail int64) {
	tailAt := int64(len(k.head)) + k.dropped
	dropped = max(0, min(to, tailAt)-max(from, int64(len(k.head))))
	return validBetween(k.head, from, to), dropped, validBetween(k.tail, from-tailAt, to-tailAt)
}

func validBetween(text []byte, from, to int64) int64 {
	from, to = max(from, 0), min(to, int64(len(text)))
	if from >= to {
		return 0
	}
	return validLen(text[characterEnd(text, int(from)):characterEnd(text, int(to))])
}

// characterEnd returns i, or the end of the character that i is within.
func characterEnd(text []byte, i int) int {
	for start := i - 1; start >= 0 && start > i-utf8.UTFMax && i < len(text); start-- {
		if utf8.RuneStart(text[start]) {
			if r, size := utf8.DecodeRune(text[start:]); r != utf8.RuneError || size > 1 {
				return max(i, start+size)
			}
			break
		}
	}
	return i
}

// validLen is the length of validText.
func validLen(text []byte) int64 {
	if utf8.Valid(text) {
		return int64(len(text))
	}
	n := 0
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		n += utf8.RuneLen(r)
		text = text[size:]
	}
	return int64(n)
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
