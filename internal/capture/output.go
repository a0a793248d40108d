package capture

import (
	"bytes"
	"slices"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/kaa-run/kaa/internal/job"
)

// capture keeps the beginning and the end of a stream, each in half of a budget of bytes. It counts
// the bytes that it drops between them. Its buffers grow with the output, so that a small output
// costs little, and never beyond the budget.
type capture struct {
	budget           int
	headMax, tailMax int // halves of budget; less if there was no room
	head, tail       []byte
	at               int // index of the oldest byte of a full tail
	total            int64
	room             *Room // source of the memory for its buffers; nil has no limit
	taken            int64
}

// Room is the memory that the output of all executions together may take. Its methods are safe for
// concurrent use. A nil Room has no limit.
type Room struct{ left atomic.Int64 }

// NewRoom makes a room of size bytes. It returns nil, which has no limit, if size is not above 0.
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

// free is the number of bytes that any output may take without room. Most executions write less.
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

// makeRoom takes the room for n more bytes. If there is not enough, it lowers headMax and tailMax.
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

// giveRoom gives back the room taken. The buffers must not be used any more.
func (c *capture) giveRoom() {
	c.room.give(c.taken)
	c.taken = 0
}

// capacity returns the capacity that b gets for need bytes, within a budget of most. It grows by
// four times, so that the buffers it replaces are small.
func capacity(b []byte, need, most int) int {
	if need <= cap(b) {
		return cap(b)
	}
	return min(max(need, 4*cap(b), 512), most)
}

func grownBy(b []byte, n, most int) int { return capacity(b, len(b)+max(n, 0), most) - cap(b) }

// appendWithin appends like append, with a capacity that never exceeds most.
func appendWithin(b, p []byte, most int) []byte {
	if need := len(b) + len(p); need > cap(b) {
		grown := make([]byte, len(b), capacity(b, need, most))
		copy(grown, b)
		b = grown
	}
	return append(b, p...)
}

// between passes on n bytes of the stream, beginning at the position from. It passes kept bytes to
// text and the number of dropped bytes to skipped.
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

// keptText is the captured text, without characters of which a part was dropped.
type keptText struct {
	head, tail []byte // head has everything if nothing was dropped
	dropped    int64
}

func (c *capture) kept() keptText {
	dropped := c.total - int64(len(c.head)) - int64(len(c.tail))
	isLong := asJSON*(len(c.head)+len(c.tail)) > inJSON*(c.headMax+c.tailMax) &&
		jsonLen(c.head)+jsonLen(c.tail) > inJSON*(c.headMax+c.tailMax)
	if dropped == 0 && !isLong {
		// The end of head may be inside a character, so head and tail are joined.
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

// straighten rotates the tail so that its oldest byte is first. It does so in place, because the
// tail may be large.
func (c *capture) straighten() {
	if c.at != 0 {
		slices.Reverse(c.tail[:c.at])
		slices.Reverse(c.tail[c.at:])
		slices.Reverse(c.tail)
		c.at = 0
	}
}

const (
	// inJSON bounds the kept text as JSON, in multiples of the budget. Two keeps all of a text
	// in which every second byte is a line break or a quote. Binary bytes would take six times
	// the budget in every component that passes the result on.
	inJSON = 2
	// asJSON is the most bytes that one byte takes as JSON.
	asJSON = 6
)

// jsonByte returns how many bytes one byte of text takes as JSON. A byte of a character beyond ASCII
// takes one.
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

// jsonLen returns how many bytes text takes as JSON.
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

// jsonRune returns how many bytes a character beyond ASCII takes as JSON.
func jsonRune(r rune) int {
	if r == '\u2028' || r == '\u2029' { // encoding/json escapes them
		return asJSON
	}
	return utf8.RuneLen(r)
}

// jsonStart returns the longest beginning of text that takes at most so many bytes as JSON.
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

// jsonEnd returns the longest end of text that takes at most so many bytes as JSON.
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

// String returns the text with a note about the dropped bytes. It has U+FFFD for each byte that is
// not UTF-8.
func (k keptText) String() string {
	var b strings.Builder
	note := ""
	if k.dropped > 0 {
		note = job.DroppedNote(k.dropped)
	}
	b.Grow(int(validLen(k.head)+validLen(k.tail)) + len(note)) // once, because the text may be long
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

// between describes the part of the stream between two positions: its number of bytes in String
// before the note, the number dropped, and its number of bytes in String after the note. A
// character belongs to the position at which it begins.
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

// characterEnd returns i, or the end of a character if i is inside it.
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

// validLen returns the length of text with U+FFFD for each byte that is not UTF-8.
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

// trimEnd removes a last character whose end is missing.
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

// trimStart removes the rest of a first character whose start is missing.
func trimStart(b []byte) []byte {
	for i := 0; i < len(b) && i < utf8.UTFMax; i++ {
		if utf8.RuneStart(b[i]) {
			return b[i:]
		}
	}
	return b
}
