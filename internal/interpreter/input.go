package interpreter

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kaa-run/kaa/internal/capture"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/protocol"
)

const (
	// maxUnanswered bounds the requests for input without an answer. The code abandons a
	// request when it is interrupted.
	maxUnanswered = 100
	maxPrompt     = 4 << 10 // bytes
)

// requests are an execution's requests for input. One goroutine takes them from the frames, and
// another passes on the answers.
type requests struct {
	allowed  bool
	made     atomic.Int64 // the number of the last request
	answered atomic.Int64 // how many were answered
	broken   bool         // the worker did not take an answer
}

// any reports whether there has been a request, which shows that the code has begun.
func (q *requests) any() bool { return q.made.Load() > 0 }

// keep returns the function that takes an execution's results and requests for input. It passes
// those that are kept on to the tap's viewers, in order with the output.
func (r *run) keep(tap *job.Tap) func(protocol.Frame) error {
	return func(f protocol.Frame) error {
		switch f.Type {
		case protocol.InputRequest:
			return r.ask(f, tap)
		case protocol.Call:
			return r.call(f, tap)
		case protocol.CallEnd:
			return r.endCall(f, tap)
		case protocol.Clear:
			return r.streams.AtFrame(f, func() {
				tap.Show(func() bool { return r.journal.Clear(f.Wait) }, func() job.Event { return job.ClearEvent(f.Wait) })
			})
		}
		value, size, err := capture.ValueOf(f)
		if err != nil {
			return err
		}
		return r.streams.AtFrame(f, func() {
			tap.Show(func() bool { return r.journal.Value(value, size) }, value.Event)
		})
	}
}

// ask takes a request and passes it on to the tap's viewers, after all earlier output of the code,
// which usually includes a prompt. It returns ErrFrame for a request that the worker script cannot
// have sent.
func (r *run) ask(f protocol.Frame, tap *job.Tap) error {
	q := &r.requests
	if !q.allowed || int64(f.Request) != q.made.Load()+1 || q.made.Load()-q.answered.Load() >= maxUnanswered {
		return fmt.Errorf("%w: input_request is out of place", protocol.ErrFrame)
	}
	prompt := f.Prompt
	if len(prompt) > maxPrompt {
		prompt = strings.ToValidUTF8(prompt[:maxPrompt], "")
	}
	return r.streams.AtFrame(f, func() {
		q.made.Add(1)
		e := job.NewEvent(job.EventInput, job.InputData{Type: job.EventInput, Request: f.Request, Prompt: prompt})
		tap.Show(func() bool { return r.journal.Ask(e) }, func() job.Event { return e })
	})
}

// passAnswers sends the worker the first answer to the execution's last request for input, and the
// first reply to each call, until stop is called. The code may be slow to read them: as long as
// it runs, there is no time limit.
func (r *run) passAnswers(id string, live job.Live) (stop func()) {
	answers, replies := live.Answers, live.Replies
	if answers == nil && replies == nil {
		return func() {}
	}
	quit, done := make(chan struct{}), make(chan struct{})
	var sending sync.Mutex // held to set the deadline of a write
	var deadline time.Time // zero as long as the code runs
	pass := func(c protocol.Command) bool {
		sending.Lock()
		err := r.w.control.SetWriteDeadline(deadline)
		sending.Unlock()
		if err == nil {
			err = r.w.write(c)
		}
		r.requests.broken = err != nil // half of the answer may be in the socket
		return err == nil
	}
	go func() {
		defer close(done)
		last := int64(0)
		for {
			select {
			case <-quit:
				return
			case a := <-answers:
				n := int64(a.Request)
				if n != r.requests.made.Load() || n == last {
					continue // the answer is late or a duplicate
				}
				last = n
				r.requests.answered.Add(1)
				if !pass(protocol.Command{ID: id, Cmd: "input", Request: a.Request, Text: a.Text, EOF: a.EOF}) {
					return
				}
			case p := <-replies:
				if c, ok := r.calls.answered(id, p); ok && !pass(c) {
					return
				}
			}
		}
	}()
	return func() {
		close(quit)
		sending.Lock()
		deadline = time.Now()
		if r.status != nil { // the worker drops the rest of an answer before it takes the next command
			deadline = deadline.Add(r.w.pool.cfg.StartTimeout)
		}
		_ = r.w.control.SetWriteDeadline(deadline)
		sending.Unlock()
		<-done
	}
}
