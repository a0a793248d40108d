package service

import (
	"sync"

	"github.com/kaa-run/kaa/internal/job"
)

// maxSocketsPerSession is at one process.
const maxSocketsPerSession = 100

// Hub wakes the requests of this process that wait for a job's end. The store's
// subscription calls Ended; the waiters' own polling finds the ends that it misses.
type Hub struct {
	// Subscriber is the name under which the store notifies this process.
	Subscriber string

	mu      sync.Mutex
	waiting map[string][]chan *job.Result // by job id
	sockets map[string]int                // by session

	calls   Shares // synchronous calls that wait
	polls   Shares // long polls that wait
	streams Shares // streams of events
	opened  Shares // sockets
	bodies  Shares // bytes of bodies and frames
}

// NewHub returns a hub of that name, which must be unique among all processes.
func NewHub(subscriber string) *Hub {
	return &Hub{Subscriber: subscriber, waiting: make(map[string][]chan *job.Result), sockets: make(map[string]int)}
}

// Ended wakes all requests that wait for the job, with its result or with nil if they have to
// look at its record. It never blocks.
func (h *Hub) Ended(jobID string, r *job.Result) {
	h.mu.Lock()
	defer h.mu.Unlock()
	tell(h.waiting[jobID], r)
	delete(h.waiting, jobID)
}

// Missed makes all requests that wait look at their jobs' records, because reports of ends may be lost.
func (h *Hub) Missed() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, waiting := range h.waiting {
		tell(waiting, nil)
	}
}

// It never blocks: only the hub sends, and there is room for one value. One that was not taken yet
// gives way.
func tell(waiting []chan *job.Result, r *job.Result) {
	for _, c := range waiting {
		select {
		case <-c:
		default:
		}
		c <- r
	}
}

// wait returns a channel that gets a value when the job is reported as ended, its result or nil, and
// nil when that report may be lost, and a function to call when it is not needed any more.
func (h *Hub) wait(jobID string) (told <-chan *job.Result, forget func()) {
	c := make(chan *job.Result, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting[jobID] = append(h.waiting[jobID], c)
	return c, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		left := h.waiting[jobID][:0]
		for _, other := range h.waiting[jobID] {
			if other != c {
				left = append(left, other)
			}
		}
		if len(left) == 0 {
			delete(h.waiting, jobID)
			return
		}
		h.waiting[jobID] = left
	}
}

// beginCall counts a synchronous call of a caller until the function it returns is called;
// it returns none if as many wait already as may. 0 is no limit.
func (h *Hub) beginCall(caller string, most int) (end func(), err error) {
	return begin(&h.calls, caller, most)
}

// beginPoll does the same for a long poll. They have a bound of their own, so that
// those who poll do not keep out those who call.
func (h *Hub) beginPoll(caller string, most int) (end func(), err error) {
	return begin(&h.polls, caller, most)
}

// beginStream does the same for a stream of events.
func (h *Hub) beginStream(caller string, most int) (end func(), err error) {
	return begin(&h.streams, caller, most)
}

func begin(of *Shares, caller string, most int) (end func(), err error) {
	taken, limit, ok := of.Take(caller, 1, int64(most))
	if !ok {
		return nil, &BusyError{ScarceWaits, taken, limit}
	}
	return func() { of.Give(caller, 1) }, nil
}

// beginSocket does the same for a socket of a session, which has a bound of its own.
func (h *Hub) beginSocket(session, caller string, most int) (end func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if of := h.sockets[session]; of >= maxSocketsPerSession {
		return nil, &BusyError{ScarceSockets, int64(of), maxSocketsPerSession}
	}
	leave, err := begin(&h.opened, caller, most)
	if err != nil {
		return nil, err
	}
	h.sockets[session]++
	return func() {
		leave()
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.sockets[session]--; h.sockets[session] == 0 {
			delete(h.sockets, session)
		}
	}, nil
}

// share decides whether callers share the resources, or the first caller may take all.
func (h *Hub) share(fair bool) {
	for _, of := range []*Shares{&h.calls, &h.polls, &h.streams, &h.opened, &h.bodies} {
		of.Fair(fair)
	}
}

// Open returns how many calls, polls, streams and sockets there are.
func (h *Hub) Open() map[string]int64 {
	return map[string]int64{"calls": h.calls.InUse(), "polls": h.polls.InUse(), "streams": h.streams.InUse(), "sockets": h.opened.InUse()}
}

// BodyBytes returns how many bytes of bodies the API holds.
func (h *Hub) BodyBytes() int64 { return h.bodies.InUse() }

// Calls returns how many synchronous calls wait.
func (h *Hub) Calls() int { return int(h.calls.InUse()) }
