package capture

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"strconv"
	"sync"
)

// The parties that meet at marks: see marks.py. A stream's party has the number of its
// descriptor.
const (
	meetStdout = 1
	meetStderr = 2
	meetFrame  = 4
	meetAll    = meetStdout | meetStderr | meetFrame
)

// markTail is the length of a mark after its prefix: a number, the parties that meet there, and a
// new line.
const markTail = 8 + 1 + 1

// newMarkPrefix makes the prefix of an execution's marks. The code can write the prefix only on
// purpose, and then disturbs only the order of its own output.
func newMarkPrefix() string {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails
	return "\x00" + hex.EncodeToString(random[:])
}

// cutter removes the marks from the bytes read from a pipe.
type cutter struct {
	prefix []byte
	text   func([]byte)
	mark   func(number int64, meet int)
}

// cut passes on the text and the marks in data. It returns the length of the end of data that may
// be part of a mark; the caller passes that again with more bytes behind it. The worker writes a
// mark in one piece, so a mark is complete unless the buffer was too small: full reports that.
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

// meeting is the point at which the goroutines that read an execution's pipes and frames wait for
// each other, so that they pass on output in the order in which it was written. For each party it
// has the number of the last mark that the party reached, which never decreases. A party that has
// ended does not wait, and no other party waits for it.
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

// reach records that a party has reached a mark.
func (m *meeting) reach(who int, number int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reached[who] = max(m.reached[who], number)
	m.moved.Broadcast()
}

// end records that a party has ended.
func (m *meeting) end(who int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended[who] = true
	m.moved.Broadcast()
}
