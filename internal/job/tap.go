package job

import (
	"encoding/json"
	"io"
	"sync"
)

// Sink takes the output of an execution while it runs. No method may block: the
// execution would wait.
type Sink interface {
	// Stream takes what was written to stdout or stderr. It does not keep p.
	Stream(name string, p []byte)
	// Skipped reports that n bytes of a stream are no longer available.
	Skipped(name string, n int64)
	// Event takes all other events; data is a JSON object whose type is t.
	Event(t EventType, data json.RawMessage)
}

// Tap lets a follower watch an execution, from its beginning or from any later moment on. The
// interpreter fills it and the runner opens it. An unopened tap costs next to nothing. A nil Tap
// can never be opened.
type Tap struct {
	mu     sync.Mutex
	sink   Sink
	closed bool
	// replay gives the output so far.
	replay func(Sink)
}

// Attach sets the function that gives the output so far. Open calls it under the tap's lock.
// Later output has to pass through Tee's writers and Show.
func (t *Tap) Attach(replay func(Sink)) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.replay = replay
}

// Tee returns a writer to w that also passes its bytes to the tap's sink.
func (t *Tap) Tee(name string, w io.Writer) io.Writer {
	if t == nil {
		return w
	}
	return &tee{t, name, w}
}

type tee struct {
	tap  *Tap
	name string
	w    io.Writer
}

func (t *tee) Write(p []byte) (int, error) {
	t.tap.mu.Lock()
	defer t.tap.mu.Unlock()
	n, err := t.w.Write(p)
	if t.tap.sink != nil {
		t.tap.sink.Stream(t.name, p[:n])
	}
	return n, err
}

// Show calls keep, which keeps an event that is not output of a stream for replay. It passes the
// event on if keep returns it.
func (t *Tap) Show(keep func() bool, event func() Event) {
	if t == nil {
		keep()
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if keep() && t.sink != nil {
		e := event()
		t.sink.Event(e.Type, e.Data)
	}
}

// Open gives s the output so far, and everything that comes until Close.
func (t *Tap) Open(s Sink) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	if t.replay != nil {
		t.replay(s)
	}
	t.sink = s
}

// Close ends the tap for good. The sink is not called any more when it returns.
func (t *Tap) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed, t.sink, t.replay = true, nil, nil
}
