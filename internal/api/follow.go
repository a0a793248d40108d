package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// Events is what following jobs needs of the store.
type Events interface {
	// Follow has the events of a job written from now on, unless it has ended, and
	// returns its state.
	Follow(ctx context.Context, id string) (job.State, error)
	// Events returns the events after an id, oldest first and most at a time. The one
	// of the end has no data.
	Events(ctx context.Context, id string, after job.EventID, most int) ([]job.Event, error)
}

// Bell tells when to look for events.
type Bell interface {
	// Listen calls wake, which does not block, when there may be new events of a job,
	// until forget is called.
	Listen(jobID string, wake func()) (forget func())
	// ListenSession does the same for what is accepted for a session, and its end.
	ListenSession(id string, wake func()) (forget func())
}

const (
	// eventsAtOnce bounds what a follower holds: 16 events of 32 KiB of text.
	eventsAtOnce = 16
	// fetchesAtOnce is how many followers read at the same time.
	fetchesAtOnce = 8
	// lookEvery makes up for a wake that was lost.
	lookEvery = time.Second
)

var (
	// errEnded: there is nothing after the event that the caller has already.
	errEnded = errors.New("the job has ended and all its events are known")
	// errOver: the last event has been told. Not io.EOF, which Redis's absence can be.
	errOver = errors.New("the job's last event has been told")
	// errStopping: this process is about to stop, another can go on.
	errStopping = errors.New("the process is being stopped")
)

// follower tells the events of one job in their order, from any of them on until the
// job's end. It is for one goroutine. To be closed.
type follower struct {
	s      *server
	id     string
	after  job.EventID // the last event that was read
	wake   chan struct{}
	forget func()
	look   bool         // there may be more to read
	quiet  bool         // nothing has come for a while
	ready  []job.Event  // read and not told yet
	over   bool         // the last one is among those
	held   *job.Holding // of what is ready
	// stopping ends the following when the process is; nil if it should wait for the job.
	stopping <-chan struct{}
}

// follow begins to follow a job after an event; the zero id is before all. job.ErrNotFound
// and job.ErrGone: there is none; errEnded: that event was its last.
func (s *server) follow(ctx context.Context, id string, after job.EventID, stopping <-chan struct{}) (*follower, error) {
	f := &follower{s: s, id: id, after: after, wake: make(chan struct{}, 1), look: true, quiet: true, stopping: stopping, held: s.cfg.Answers.For(shortCaller(ctx))}
	f.forget = s.cfg.Bell.Listen(id, func() {
		select {
		case f.wake <- struct{}{}:
		default:
		}
	})
	state, err := s.cfg.Events.Follow(ctx, id)
	if err == nil && after.Ends() && state.Terminal() {
		err = errEnded
	}
	if err != nil {
		f.close()
		return nil, fmt.Errorf("follow job %s: %w", id, err)
	}
	return f, nil
}

func (f *follower) close() {
	f.forget()
	f.held.Release()
}

// next returns the next event, and errOver after that of the job's end. It waits as long
// as ctx lets it and may be called again after that, and after job.ErrUnavailable.
func (f *follower) next(ctx context.Context) (job.Event, error) {
	poll := time.NewTicker(lookEvery)
	defer poll.Stop()
	for len(f.ready) == 0 {
		if f.over {
			return job.Event{}, errOver
		}
		f.held.Release() // what was ready has been told
		if f.look {
			if err := f.read(ctx); err != nil {
				return job.Event{}, fmt.Errorf("follow job %s: %w", f.id, err)
			}
			continue
		}
		select {
		case <-f.wake:
			f.quiet = false
		case <-poll.C:
			f.quiet = true
		case <-f.stopping:
			return job.Event{}, errStopping
		case <-ctx.Done():
			return job.Event{}, ctx.Err()
		}
		f.look = true
	}
	e := f.ready[0]
	f.ready = f.ready[1:]
	return e, nil
}

// read looks for events. If none has come for a while, it looks whether the job has
// ended in a way that left no event, because nobody followed it then.
func (f *follower) read(ctx context.Context) error {
	events, fits, err := f.fetch(ctx)
	if err != nil {
		return err
	}
	if !fits {
		f.look, f.quiet = false, false // with the next look
		return nil
	}
	if len(events) == 0 && f.quiet {
		return f.readRecord(ctx)
	}
	f.look = len(events) == eventsAtOnce
	for _, e := range events {
		if e.ID.Ends() {
			return f.readEnd(ctx, e.ID)
		}
		f.tell(e)
	}
	return nil
}

// fetch reads events that this follower may hold. Whoever reads slowly holds them for long, so they
// count for his caller; and only some followers at once have events of which the size is not known.
func (f *follower) fetch(ctx context.Context) (events []job.Event, fits bool, err error) {
	select {
	case f.s.fetches <- struct{}{}:
		defer func() { <-f.s.fetches }()
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
	if events, err = f.s.cfg.Events.Events(ctx, f.id, f.after, eventsAtOnce); err != nil {
		return nil, false, err
	}
	size := int64(0)
	for _, e := range events {
		size += 2 * int64(len(e.Data)) // once more while it is written
	}
	if !job.TryHold(f.held.In(ctx), size) {
		return nil, false, nil
	}
	return events, true, nil
}

// tell makes e the next event, after a gap if there is one.
func (f *follower) tell(e job.Event) {
	known := uint64(0)
	if f.after.Attempt == e.ID.Attempt {
		known = f.after.Seq
	}
	if begin := e.ID.Seq - e.Size; begin > known {
		f.ready = append(f.ready, gapEvent(job.EventID{Attempt: e.ID.Attempt, Seq: begin}, begin-known))
	}
	f.ready = append(f.ready, e)
	f.after = e.ID
}

// readEnd is for the event of the end, which the record completes. If it is the only
// one, the record has everything.
func (f *follower) readEnd(ctx context.Context, id job.EventID) error {
	if len(f.ready) == 0 {
		events, err := f.s.cfg.Events.Events(ctx, f.id, job.EventID{}, 1)
		if err != nil {
			return err
		}
		if len(events) == 1 && events[0].ID.Ends() {
			return f.readRecord(ctx)
		}
	}
	j, err := f.s.cfg.Lookup.Get(f.held.In(ctx), f.id)
	if err != nil {
		f.look = true // what is ready goes first; then this is tried again
		if len(f.ready) > 0 {
			return nil
		}
		return err
	}
	f.after = id
	f.end(j)
	return nil
}

// readRecord tells the events of a job that has ended of its record, and does nothing
// as long as it has not.
func (f *follower) readRecord(ctx context.Context) error {
	f.look = false
	j, err := f.s.cfg.Lookup.Get(f.held.In(ctx), f.id)
	if err != nil {
		f.look = true
		return err
	}
	if !j.State.Terminal() {
		return nil
	}
	// It may have ended since the events were looked for: then they are there now.
	events, err := f.s.cfg.Events.Events(ctx, f.id, f.after, 1)
	if err != nil {
		f.look = true
		return err
	}
	if len(events) == 1 && !events[0].ID.Ends() {
		f.look = true
		return nil
	}
	for _, e := range eventsOf(j) {
		if e.ID.Compare(f.after) > 0 {
			f.ready = append(f.ready, e)
			f.after = e.ID
		}
	}
	f.end(j)
	return nil
}

func (f *follower) end(j job.Job) {
	f.ready = append(f.ready, endEvent(j))
	f.over, f.look = true, false
}
