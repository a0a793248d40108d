package capture

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"strconv"
	"sync"
)

// Who meet at marks: see streams.py. Each stream is also the number of its descriptor.
const (
	meetStdout = 1
	meetStderr = 2
	meetFrame  = 4
	meetAll    = meetStdout | meetStderr | meetFrame
)

// markTail is what a mark has after its prefix: a number, who meets there, and a new line.
const markTail = 8 + 1 + 1

// newMarkPrefix makes what begins the marks of an execution. Nothing else that the code
// writes begins so, unless it means to: then it disturbs the order of its own output.
func newMarkPrefix() string {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails
	return "\x00" + hex.EncodeToString(random[:])
}

// cutter takes the marks out of what is read from a pipe.
type cutter struct {
	prefix []byte
	text   func([]byte)
	mark   func(number int64, meet int)
}

// cut passes on what was read, and returns the length of its end that is to be read again,
// with more behind it. A mark is written in one piece, so it is whole, unless there was no
// room for all of it: full says so.
func (c *cutter) cut(data []byte, full bool) (rest int) {
	for {
		i := bytes.Index(data, c.prefix)
		if i < 0 {
			if full {
				rest = begun(data, c.prefix)
			}
			break
		}
		size := len(c.prefix) + markTail
		if len(data)-i < size {
			if full {
				rest = len(data) - i
			}
			break
		}
		number, meet, ok := parseMark(data[i+len(c.prefix) : i+size])
		if !ok {
			size = len(c.prefix)
			c.text(data[:i+size])
			data = data[i+size:]
			continue
		}
		c.pass(data[:i])
		c.mark(number, meet)
		data = data[i+size:]
	}
	c.pass(data[:len(data)-rest])
	return rest
}

func (c *cutter) pass(data []byte) {
	if len(data) > 0 {
		c.text(data)
	}
}

// begun returns how many bytes at the end of data are the beginning of prefix.
func begun(data, prefix []byte) int {
	for n := min(len(data), len(prefix)-1); n > 0; n-- {
		if bytes.HasSuffix(data, prefix[:n]) {
			return n
		}
	}
	return 0
}

func parseMark(tail []byte) (number int64, meet int, ok bool) {
	number, err := strconv.ParseInt(string(tail[:8]), 16, 64)
	meet = int(tail[8] - '0')
	return number, meet, err == nil && number > 0 && meet > 0 && meet <= meetAll && tail[9] == '\n'
}

// meeting is where the goroutines that read an execution's pipes and its frames wait for
// each other, so that what they pass on is in the order in which it was written. Each has
// come so far as to the number of a mark, and does not turn back. Who is at its end waits for nobody, and
// nobody waits for it.
type meeting struct {
	mu      sync.Mutex
	moved   sync.Cond
	reached [meetFrame + 1]int64
	ended   [meetFrame + 1]bool
}

func newMeeting() *meeting {
	m := &meeting{}
	m.moved.L = &m.mu
	return m
}

// reach notes that one has come to a mark.
func (m *meeting) reach(who int, number int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reached[who] = max(m.reached[who], number)
	m.moved.Broadcast()
}

// end notes that one waits no more.
func (m *meeting) end(who int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended[who] = true
	m.moved.Broadcast()
}
