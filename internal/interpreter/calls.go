package interpreter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/protocol"
)

// callReasons are the reasons for which a call ends without an answer.
var callReasons = map[string]bool{"timeout": true, "cancelled": true} //nolint:gochecknoglobals // a constant

// calls are an execution's calls to functions of its caller. The worker script keeps to the
// budgets, and raises errors that say which. So frames beyond them are forged.
type calls struct {
	offered map[string]bool // nil if the caller offers no functions
	attempt int
	limits  job.CallLimits

	mu    sync.Mutex
	made  int         // the number of the last call
	spent int64       // bytes of all arguments
	open  map[int]int // the bytes of the arguments of open calls, by number
	size  int         // their sum
}

// offer lets the code of an execution call functions of its caller, and adds them to its command.
func (r *run) offer(c *protocol.Command, spec *job.Spec, live job.Live) {
	if len(spec.Functions) == 0 || live.Replies == nil {
		return
	}
	k := &r.calls
	k.limits, k.attempt, k.open = r.quota.CallLimits(), live.Attempt, make(map[int]int)
	k.offered = make(map[string]bool, len(spec.Functions))
	for _, f := range spec.Functions {
		k.offered[f.Name] = true
	}
	c.Functions = &protocol.Functions{
		Offers: spec.Functions, Calls: k.limits.Calls, Bytes: k.limits.Bytes, Seconds: k.limits.Time.Seconds(), AtOnce: k.limits.AtOnce,
		Most: job.MaxCallBytes, Open: job.MaxOpenCallBytes, Depth: job.MaxCallDepth - 1, // the list of positional arguments is a level
	}
}

// any reports whether there has been a call, which shows that the code has begun.
func (k *calls) any() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.made > 0
}

// call takes a call and passes it on to the tap's viewers, after all earlier output of the code. It
// returns ErrFrame for a call that the worker script cannot have sent.
func (r *run) call(f protocol.Frame, tap *job.Tap) error {
	k := &r.calls
	if why := k.begin(&f); why != "" {
		return fmt.Errorf("%w: call %s", protocol.ErrFrame, why)
	}
	return r.streams.AtFrame(f, func() {
		showCall(tap, job.EventCall, job.CallData{
			Type: job.EventCall, ID: job.CallID(k.attempt, f.Request), Name: f.Name, Arguments: f.Arguments, Positional: f.Positional,
		})
	})
}

// begin counts a call, or says why there can be no such call.
func (k *calls) begin(f *protocol.Frame) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	size := len(f.Arguments) + len(f.Positional)
	switch {
	case !k.offered[f.Name]:
		return "of a function that is not offered"
	case f.Request <= k.made:
		return "has a number that was used"
	case f.Request > k.limits.Calls || len(k.open) >= k.limits.AtOnce:
		return "is one too many"
	case size > job.MaxCallBytes || len(k.open) > 0 && k.size+size > job.MaxOpenCallBytes || k.spent+int64(size) > k.limits.Bytes:
		return "is too large"
	case !isArguments(f.Arguments, '{') || f.Positional != nil && !isArguments(f.Positional, '['):
		return "has no arguments"
	}
	k.made = f.Request
	k.open[f.Request] = size
	k.size += size
	k.spent += int64(size)
	return ""
}

// isArguments reports whether valid JSON begins with a bracket and can be part of other JSON.
func isArguments(text json.RawMessage, bracket byte) bool {
	text = bytes.TrimLeft(text, " \t\r\n")
	return len(text) > 0 && text[0] == bracket && utf8.Valid(text) && job.Shallow(text)
}

// endCall takes the end of a call for whose answer the code does not wait any more.
func (r *run) endCall(f protocol.Frame, tap *job.Tap) error {
	if !callReasons[f.Value] {
		return fmt.Errorf("%w: call_end has no reason", protocol.ErrFrame)
	}
	k := &r.calls
	if !k.close(f.Request) {
		return nil // its answer was on the way
	}
	showCall(tap, job.EventCallEnd, job.CallEndData{Type: job.EventCallEnd, ID: job.CallID(k.attempt, f.Request), Reason: f.Value})
	return nil
}

func showCall(tap *job.Tap, t job.EventType, data any) {
	tap.Show(func() bool { return true }, func() job.Event { return job.NewEvent(t, data) })
}

// close takes a call out of the open ones, and reports whether it was one.
func (k *calls) close(n int) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	size, ok := k.open[n]
	if ok {
		delete(k.open, n)
		k.size -= size
	}
	return ok
}

// answered takes the reply to an open call, and returns the command for the worker.
func (k *calls) answered(id string, p job.Reply) (protocol.Command, bool) {
	attempt, number, _ := strings.Cut(p.Call, "-")
	n, err := strconv.Atoi(number)
	if err != nil || attempt != strconv.Itoa(k.attempt) || !k.close(n) {
		return protocol.Command{}, false // it is late or a duplicate
	}
	return protocol.Command{ID: id, Cmd: "reply", Request: n, Text: p.Text}, true
}
