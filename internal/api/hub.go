package api

import (
	"sync"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// Hub wakes the requests of this process that wait for a job's end. The store's
// subscription calls Told; what it misses, the waiters' own polling finds.
type Hub struct {
	// Subscriber is the name under which the store tells this process.
	Subscriber string

	mu      sync.Mutex
	waiting map[string][]chan *job.Result // by job id
	calls   int                           // synchronous calls that wait
	polls   int                           // long polls that wait
	streams int                           // streams of events
	sockets map[string]int                // by session
	opened  int                           // all of these
	held    *bytesHeld                    // of bodies; nil until there is an API
}

// NewHub returns a hub of that name, which must be unique among all processes.
func NewHub(subscriber string) *Hub {
	return &Hub{Subscriber: subscriber, waiting: make(map[string][]chan *job.Result), sockets: make(map[string]int)}
}

// Told wakes all who wait for the job, with its result or with nil if they have to look
// at its record. It never blocks.
func (h *Hub) Told(jobID string, r *job.Result) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.waiting[jobID] {
		c <- r // there is room, and it is the only one
	}
	delete(h.waiting, jobID)
}

// wait returns a channel that gets a value once the job is told to have ended, its
// result or nil, and a function to call when it is not needed any more.
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

// beginCall counts a synchronous call until the function it returns is called; it
// returns none if most of them wait already. 0 is no limit.
func (h *Hub) beginCall(most int) (end func(), waiting int) { return h.begin(&h.calls, most) }

// beginPoll does the same for a long poll. They have a bound of their own, so that
// those who poll do not keep out those who call.
func (h *Hub) beginPoll(most int) (end func(), waiting int) { return h.begin(&h.polls, most) }

// beginStream does the same for a stream of events.
func (h *Hub) beginStream(most int) (end func(), waiting int) { return h.begin(&h.streams, most) }

func (h *Hub) begin(counter *int, most int) (end func(), waiting int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if most > 0 && *counter >= most {
		return nil, *counter
	}
	*counter++
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		*counter--
	}, *counter
}

// beginSocket does the same for a socket of a session, which has a bound of its own.
func (h *Hub) beginSocket(session string, most int) (end func(), p *Problem) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch of := h.sockets[session]; {
	case of >= maxSocketsPerSession:
		return nil, tooMuch("too_many_sockets", "this session has as many WebSockets at this process as it may; close one",
			int64(of), maxSocketsPerSession, time.Second)
	case most > 0 && h.opened >= most:
		return nil, tooManyWaits(h.opened, most)
	}
	h.sockets[session]++
	h.opened++
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.opened--
		if h.sockets[session]--; h.sockets[session] == 0 {
			delete(h.sockets, session)
		}
	}, nil
}

// Open returns how many calls, polls, streams and sockets there are.
func (h *Hub) Open() map[string]int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return map[string]int64{"calls": int64(h.calls), "polls": int64(h.polls), "streams": int64(h.streams), "sockets": int64(h.opened)}
}

// BodyBytes returns how many bytes of bodies the API holds.
func (h *Hub) BodyBytes() int64 {
	h.mu.Lock()
	held := h.held
	h.mu.Unlock()
	if held == nil {
		return 0
	}
	return held.inUse()
}

// Calls returns how many synchronous calls wait.
func (h *Hub) Calls() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.calls
}
