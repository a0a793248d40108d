package job

import (
	"encoding/json"
	"io"
	"slices"
	"sync"
)

// Sink takes the output of an execution while it runs. No method may block: the
// execution would wait.
type Sink interface {
	// Stream takes what was written to stdout or stderr. It does not keep p.
	Stream(name string, p []byte)
	// Skipped says that n bytes of a stream are not there any more.
	Skipped(name string, n int64)
	// Event takes anything else; data is a JSON object whose type is t.
	Event(t EventType, data json.RawMessage)
}

// Tap is where an execution can be watched, from its beginning or from any later
// moment on. The interpreter fills it, the runner opens it, and as long as nobody
// does, it costs next to nothing. A nil Tap is one that nobody opens.
type Tap struct {
	mu     sync.Mutex
	sink   Sink
	closed bool
	// replay gives what there is of the streams so far.
	replay func(Sink)
	// missed are the events so far. The interpreter bounds them, as it keeps them for
	// the result too.
	missed []missed
	// clearing: what was missed goes when there is something new.
	clearing bool
}

// missed is an event that nobody has seen.
type missed struct {
	Event
	displayID string // of a value
}

// Attach makes replay, which is called under the tap's lock, give the streams so far.
// What is written meanwhile has to pass through Tee's writers.
func (t *Tap) Attach(replay func(Sink)) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.replay, t.missed = replay, nil
}

// Tee returns a writer to w, which also gives what it gets to the tap's sink.
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

// Event passes on something that is not output of a stream.
func (t *Tap) Event(e EventType, data json.RawMessage) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.event(e, data)
}

func (t *Tap) event(e EventType, data json.RawMessage) {
	switch {
	case t.closed:
	case t.sink != nil:
		t.sink.Event(e, data)
	default:
		t.missed = append(t.missed, missed{Event: Event{Type: e, Data: data}})
	}
}

// Value passes on what the code shows.
func (t *Tap) Value(v Value) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sink != nil {
		e := v.Event()
		t.event(e.Type, e.Data)
		return
	}
	if t.clearing {
		t.forget()
	}
	for i, m := range t.missed {
		if v.Update && m.displayID == v.DisplayID {
			v.Update = false // nobody has seen the other one
			t.missed[i].Event = v.Event()
			return
		}
	}
	if !t.closed {
		t.missed = append(t.missed, missed{v.Event(), v.DisplayID})
	}
}

// Clear passes on that what was shown so far is taken back, with wait once there is
// something new.
func (t *Tap) Clear(wait bool) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.sink != nil:
		e := clearEvent(wait)
		t.event(e.Type, e.Data)
	case wait:
		t.clearing = true
	default:
		t.forget()
	}
}

// forget drops what nobody has seen and nobody is to see any more.
func (t *Tap) forget() {
	t.missed = slices.DeleteFunc(t.missed, func(m missed) bool { return m.Type == EventDisplay || m.Type == EventResult })
	t.clearing = false
}

func clearEvent(wait bool) Event {
	return NewEvent(EventClear, ClearData{Type: EventClear, Wait: wait})
}

// Open gives s what there is so far, and everything that comes until Close.
func (t *Tap) Open(s Sink) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	if t.replay != nil {
		t.replay(s)
	}
	for _, e := range t.missed {
		s.Event(e.Type, e.Data)
	}
	if t.clearing {
		e := clearEvent(true)
		s.Event(e.Type, e.Data)
	}
	t.missed, t.clearing = nil, false
	t.sink = s
}

// Close ends it for good. The sink is not called any more when it returns.
func (t *Tap) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed, t.sink, t.replay, t.missed = true, nil, nil, nil
}
