package runner

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/kaa-run/kaa/internal/job"
)

const (
	// chunkBytes is the most output in one event.
	chunkBytes = 32 << 10
	// batchBytes is about the most that one write to Redis has. Together with flushEvery it
	// bounds the load that printing code can cause on Redis.
	batchBytes = 256 << 10
	flushEvery = 10 * time.Millisecond
	// settleDown is how long the first output after a silence waits for more output, because
	// print writes its text and the end of the line one after the other.
	settleDown = time.Millisecond
	// chunkCost is the memory of an event besides its data.
	chunkCost = 64
)

// feed writes the output of an execution as events of its job. The execution never waits for it.
// Events that Redis does not take in time are held up to a limit; beyond it, the middle of them
// is dropped. The numbering includes dropped events, so readers see how much is missing.
type feed struct {
	events Events
	claim  job.Claim
	limit  int
	log    *slog.Logger
	wake   chan struct{}
	hurry  chan struct{} // has a token if a follower should see an event at once
	ending chan struct{}
	done   sync.WaitGroup

	mu      sync.Mutex
	seq     uint64  // where the next event begins
	pending []chunk // events to be written
	held    int     // the cost of pending
	// awaiting is the cost of those of pending to which the execution awaits an answer.
	awaiting int
	begun    map[string][]byte // the start of a character whose rest has not come, by stream

	// The fields below belong to the writer: first the goroutine run, and drain after its end.
	batch   []job.Event // taken from pending, not known to be written
	oldest  job.EventID // the oldest event to keep, with this batch
	written []mark      // the events that Redis keeps
	kept    int         // the cost of written
	dead    bool        // the claim was lost
}

// chunk is an event that is not yet encoded.
type chunk struct {
	kind   job.EventType
	stream string // for output only
	data   []byte // the output as written; the JSON of other events
	size   uint64 // the share of the numbering of other events
	end    uint64
}

func (c *chunk) cost() int { return len(c.data) + chunkCost }

type mark struct {
	seq  uint64
	cost int
}

func newFeed(events Events, claim job.Claim, limit int, log *slog.Logger) *feed {
	f := &feed{
		events: events, claim: claim, limit: limit, log: log.With(slog.String("job_id", claim.JobID)),
		wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1), ending: make(chan struct{}), begun: make(map[string][]byte),
	}
	start := job.NewEvent(job.EventStatus, job.AttemptData{Type: job.EventStatus, State: job.Running, Attempt: claim.Attempt})
	f.Event(start.Type, start.Data)
	if claim.Attempt > 1 {
		// Only the last of the earlier attempts is kept, because the limit applies to each.
		f.oldest = job.EventID{Attempt: claim.Attempt - 1}
	}
	f.done.Go(f.run)
	return f
}

// Stream takes output. As long as it is text, it passes on whole characters only.
func (f *feed) Stream(name string, p []byte) {
	if len(p) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if start := f.begun[name]; len(start) > 0 {
		p = append(start, p...) //nolint:gocritic // p is the reader's, start is ours
		delete(f.begun, name)
	}
	whole := wholeCharacters(p)
	if whole < len(p) {
		f.begun[name] = slices.Clone(p[whole:])
	}
	f.add(name, p[:whole])
}

// Skipped counts output that was dropped before it reached the feed.
func (f *feed) Skipped(name string, n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flushBegun(name)
	f.seq += uint64(n) //nolint:gosec // a count
}

// Event takes an event other than output. An event that would leave no room for others is
// replaced by a gap.
func (f *feed) Event(t job.EventType, data json.RawMessage) {
	f.mu.Lock()
	defer f.mu.Unlock()
	size := uint64(len(data))
	f.seq += size
	if len(data) > f.limit/2 && !awaited(t) {
		t, data = job.EventGap, job.NewEvent(job.EventGap, job.GapData{Type: job.EventGap, Bytes: size, Event: t}).Data
	}
	f.hold(chunk{kind: t, data: data, size: size, end: f.seq})
}

func (f *feed) flushBegun(name string) {
	start := f.begun[name]
	delete(f.begun, name)
	f.add(name, start)
}

// add appends output to the last event if it is of the same stream, else to new ones.
func (f *feed) add(name string, p []byte) {
	for len(p) > 0 {
		take := 0
		if n := len(f.pending); n > 0 && f.pending[n-1].stream == name && f.pending[n-1].end == f.seq {
			last := &f.pending[n-1]
			if take = fitting(p, chunkBytes-len(last.data)); take > 0 {
				last.data = append(last.data, p[:take]...)
				last.end += uint64(take)
				f.held += take
				f.seq = last.end
			}
		}
		if take == 0 {
			take = fitting(p, chunkBytes)
			f.seq += uint64(take) //nolint:gosec // a length
			f.hold(chunk{kind: job.EventStream, stream: name, data: slices.Clone(p[:take]), end: f.seq})
		}
		p = p[take:]
	}
	f.wakeWriter()
}

// hold appends an event. If the pending events exceed the limit, it drops some from the middle.
// It drops a good part at once, so that it rarely has to.
func (f *feed) hold(c chunk) {
	f.pending = append(f.pending, c)
	f.held += c.cost()
	f.wakeWriter()
	if awaited(c.kind) {
		f.awaiting += c.cost()
		select {
		case f.hurry <- struct{}{}:
		default:
		}
	}
	if f.held <= f.limit {
		return
	}
	from, head := 0, 0
	for from < len(f.pending)-1 && head < f.limit/4 {
		head += f.pending[from].cost()
		from++
	}
	last, to, kept := len(f.pending)-1, from, from
	for ; to < last && f.held > f.limit/4*3; to++ {
		if c := &f.pending[to]; awaited(c.kind) && f.awaiting <= f.limit/2 {
			f.pending[kept] = *c
			kept++
			continue
		}
		f.drop(&f.pending[to])
	}
	f.pending = slices.Delete(f.pending, kept, to)
}

// drop takes an event out of the count of pending events.
func (f *feed) drop(c *chunk) {
	f.held -= c.cost()
	if awaited(c.kind) {
		f.awaiting -= c.cost()
	}
}

// awaited reports whether the execution waits for an answer of followers to an event. Such events
// are not dropped, unless they alone take half of the limit.
func awaited(t job.EventType) bool { return t == job.EventCall || t == job.EventInput }

func (f *feed) wakeWriter() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// run writes events until close is called.
func (f *feed) run() {
	ctx := context.Background() // the Redis client bounds the time of each write
	pause, hurried := settleDown, false
	for {
		select {
		case <-f.ending:
			return
		case <-f.wake:
		}
		if !hurried {
			if ok, _ := f.pause(pause); !ok {
				return
			}
		}
		hurried = false
		began := time.Now()
		more, err := f.write(ctx)
		switch {
		case err != nil:
			f.log.Warn("write events: will try again", slog.Any("err", err))
			pause = min(max(2*pause, firstPause), lastPause)
			f.wakeWriter()
		default:
			if more {
				f.wakeWriter()
			}
			pause = settleDown
			var ok bool
			if ok, hurried = f.pause(flushEvery - settleDown - time.Since(began)); !ok {
				return
			}
		}
	}
}

// pause waits for d. It is hurried if a follower should see an event at once. It returns false at once
// when close is called.
func (f *feed) pause(d time.Duration) (ok, hurried bool) {
	if d <= 0 {
		return true, false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-f.ending:
		return false, false
	case <-f.hurry:
		return true, true
	case <-t.C:
		return true, false
	}
}

// close ends the goroutine that writes. drain writes the remaining events.
func (f *feed) close() {
	close(f.ending)
	f.done.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range []string{"stdout", "stderr"} {
		f.flushBegun(name)
	}
}

// drain writes the remaining events. A nil feed has none.
func (f *feed) drain(ctx context.Context) error {
	if f == nil {
		return nil
	}
	for {
		more, err := f.write(ctx)
		if err != nil || !more {
			return err
		}
	}
}

// write writes one batch, or the last one again if that failed. It reports whether there is more.
// It returns an error only if Redis does not answer.
func (f *feed) write(ctx context.Context) (more bool, err error) {
	if f.batch == nil {
		f.take()
	}
	if len(f.batch) == 0 || f.dead {
		f.batch = nil
		return false, nil
	}
	err = f.events.AppendEvents(ctx, f.claim, f.oldest, f.batch)
	switch {
	case errors.Is(err, job.ErrUnavailable):
		return true, err
	case errors.Is(err, job.ErrStale), errors.Is(err, job.ErrNotFound), errors.Is(err, job.ErrGone):
		f.dead = true
	case err != nil:
		f.log.ErrorContext(ctx, "events are not written", slog.Any("err", err))
		f.dead = true
	}
	f.batch = nil
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.pending) > 0 && !f.dead, nil
}

// take makes a batch of pending events. It also determines which older events Redis need not keep
// beside the batch.
func (f *feed) take() {
	f.mu.Lock()
	n, size := 0, 0
	for n < len(f.pending) && size < batchBytes {
		size += f.pending[n].cost()
		f.drop(&f.pending[n])
		n++
	}
	chunks := slices.Clone(f.pending[:n])
	f.pending = slices.Delete(f.pending, 0, n)
	f.mu.Unlock()

	for _, c := range chunks {
		e := c.event(f.claim.Attempt)
		f.batch = append(f.batch, e)
		m := mark{c.end, len(e.Data) + chunkCost}
		f.written = append(f.written, m)
		f.kept += m.cost
	}
	old := 0
	for f.kept > f.limit && old < len(f.written)-1 {
		f.kept -= f.written[old].cost
		old++
	}
	if old > 0 {
		f.written = slices.Delete(f.written, 0, old)
		f.oldest = job.EventID{Attempt: f.claim.Attempt, Seq: f.written[0].seq}
	}
}

// event encodes the chunk.
func (c *chunk) event(attempt int) job.Event {
	e := job.Event{Type: c.kind, Data: c.data, Size: c.size}
	if c.stream != "" {
		e = job.NewEvent(job.EventStream, job.StreamData{Type: job.EventStream, Stream: c.stream, Text: string(c.data)})
		e.Size = uint64(len(c.data))
	}
	e.ID = job.EventID{Attempt: attempt, Seq: c.end}
	return e
}

// fitting returns the number of bytes of p that fit into room without cutting a character.
func fitting(p []byte, room int) int {
	if len(p) <= room {
		return len(p)
	}
	return wholeCharacters(p[:room])
}

// wholeCharacters returns the length of p without an incomplete character at its end.
func wholeCharacters(p []byte) int {
	for i := len(p) - 1; i >= 0 && i >= len(p)-utf8.UTFMax; i-- {
		if utf8.RuneStart(p[i]) {
			if !utf8.FullRune(p[i:]) {
				return i
			}
			break
		}
	}
	return len(p)
}
