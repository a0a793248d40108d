package capture

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/protocol"
)

// TestRoom: what is kept of all outputs together is bounded, small ones are kept whole in any
// case, and what was taken is given back.
func TestRoom(t *testing.T) {
	t.Parallel()
	const all, budget = 1 << 20, 1 << 20
	r := NewRoom(all)
	var captures []*capture
	kept := 0
	for range 10 {
		c := newCapture(budget)
		c.room = r
		for range 64 {
			_, _ = c.Write(bytes.Repeat([]byte("x"), budget/32))
		}
		k := c.kept()
		if got := int64(len(k.head)+len(k.tail)) + k.dropped; got != 2*budget {
			t.Errorf("%d bytes are accounted for", got)
		}
		if len(k.head) < free/2 || len(k.tail) < free/2 {
			t.Errorf("%d and %d bytes are kept", len(k.head), len(k.tail))
		}
		kept += cap(c.head) + cap(c.tail)
		captures = append(captures, c)
	}
	if kept > all+10*free {
		t.Errorf("%d bytes are kept", kept)
	}
	for _, c := range captures {
		c.giveRoom()
		c.giveRoom()
	}
	if left := r.left.Load(); left != all {
		t.Errorf("%d bytes are left of %d", left, all)
	}
}

// TestJournalWithoutRoom: a result says why less was kept than its limit.
func TestJournalWithoutRoom(t *testing.T) {
	t.Parallel()
	r := NewRoom(1)
	j := NewJournal(job.Quota{OutputBytes: 1 << 20}, r)
	_, _ = j.Stream(Stdout).Write([]byte("small\n"))
	if kept := j.Shortened(); kept != 0 {
		t.Errorf("with a small output %d", kept)
	}
	_, _ = j.Stream(Stdout).Write(bytes.Repeat([]byte("x"), 1<<17))
	if kept := j.Shortened(); kept < free/2 || kept >= 1<<20 {
		t.Errorf("with a large one %d", kept)
	}
}

// TestLongFrames: what our script never sends is cut, or is none of its frames.
func TestLongFrames(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("€", 1<<17)
	fr := protocol.NewReader(strings.NewReader(fmt.Sprintf("{\"type\":\"error\",\"name\":%[1]q,\"value\":%[1]q}\n", long)))
	f, err := fr.Next()
	if err != nil || len(f.Name) > protocol.MaxName || len(f.Value) > protocol.MaxText || len(f.Value) < protocol.MaxText-8 {
		t.Errorf("name of %d, value of %d bytes, %v", len(f.Name), len(f.Value), err)
	}
	for kind, want := range map[string]error{protocol.Result: nil, protocol.Error: protocol.ErrFrame, protocol.Status: protocol.ErrFrame, protocol.InputRequest: protocol.ErrFrame} {
		fr := protocol.NewReader(strings.NewReader(fmt.Sprintf("{\"type\":%q,\"status\":\"ok\",\"traceback\":%q}\n", kind, strings.Repeat("x", 2*protocol.MaxFrame))))
		fr.Allow(8 << 20)
		if _, err := fr.Next(); !errors.Is(err, want) {
			t.Errorf("a long %s: %v", kind, err)
		}
	}
}
