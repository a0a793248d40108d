package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
)

const (
	// eventsAtOnce bounds what a follower holds: 16 events of 32 KiB of text.
	eventsAtOnce = 16
	// fetchesAtOnce is how many followers read at the same time.
	fetchesAtOnce = 8
)

// Follower returns the events of one job in their order, from any of them on until the
// job's end. It is for one goroutine. To be closed.
type Follower struct {
	s      *Service
	id     string
	after  job.EventID // the last event that was read
	wake   chan struct{}
	forget func()
	look   bool         // there may be more to read
	looks  Looks        // make up for a wake that was lost
	quiet  bool         // nothing has come for a while
	ready  []job.Event  // read and not returned yet
	over   bool         // the last one is among those
	held   *job.Holding // the memory of the ready events
	end    func()       // gives back what Follow has counted; nil for nothing
	// stopping ends the following when the process is; nil if it should wait for the job.
	stopping <-chan struct{}
	// waits is what is known of the packages that the job waits for.
	waits packagesLook
	// reported gets the result of the job with the message of its end, or nil if the message does not have it. It is nil where
	// no such message comes to this process.
	reported <-chan *job.Result
}

// listen makes a Follower of a job, which may not be recorded yet.
func (s *Service) listen(c Caller, id string, stopping <-chan struct{}) *Follower {
	f := &Follower{s: s, id: id, wake: make(chan struct{}, 1), look: true, stopping: stopping, held: s.cfg.Answers.For(c.ID())}
	f.forget = s.cfg.Notifier.Listen(id, func() {
		select {
		case f.wake <- struct{}{}:
		default:
		}
	})
	return f
}

// follow begins to follow a job after an event; the zero id is before all. job.ErrNotFound
// and job.ErrGone: there is none; ErrEnded: that event was its last.
func (s *Service) follow(ctx context.Context, c Caller, id string, after job.EventID, stopping <-chan struct{}) (*Follower, error) {
	f := s.listen(c, id, stopping)
	f.after, f.quiet = after, true
	state, err := s.cfg.Events.Follow(ctx, id)
	if err == nil && after.Ends() && state.Terminal() {
		err = ErrEnded
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("follow job %s: %w", id, err)
	}
	return f, nil
}

// Close ends the following.
func (f *Follower) Close() {
	f.forget()
	f.looks.Stop()
	f.held.Release()
	if f.end != nil {
		f.end()
	}
}

// Next returns the next event, and ErrOver after that of the job's end. ErrQuiet: none has come
// for that long. It may be called again after that, and after job.ErrUnavailable.
func (f *Follower) Next(ctx context.Context, quiet time.Duration) (job.Event, error) {
	within, cancel := context.WithTimeout(ctx, quiet)
	defer cancel()
	e, err := f.next(within)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = ErrQuiet
	}
	return e, err
}

// Follow begins to follow a job of the caller after an event; the zero id is before all. ErrEnded:
// that event was its last. The Follower is to be closed.
func (s *Service) Follow(ctx context.Context, c Caller, id string, after job.EventID) (*Follower, error) {
	if err := c.may(access.Read); err != nil {
		return nil, err
	}
	// The place comes first: a refusal costs Redis nothing.
	end, err := s.cfg.Hub.beginStream(c.ID(), s.cfg.MaxSyncWaits)
	if err != nil {
		return nil, err
	}
	var f *Follower
	if _, err = s.visible(ctx, c, id, s.cfg.Lookup.Summary); err == nil {
		f, err = s.follow(ctx, c, id, after, s.cfg.Draining)
	}
	if err != nil {
		end()
		return nil, err
	}
	f.end = end
	return f, nil
}

// FollowObserved follows an execution that Observe has shown, or that was accepted for the
// session meanwhile. The socket that observes counts, and not what it follows.
func (s *Service) FollowObserved(ctx context.Context, c Caller, id string) (*Follower, error) {
	if err := c.may(access.Read); err != nil {
		return nil, err
	}
	return s.follow(ctx, c, id, job.EventID{}, s.cfg.Draining)
}

// next waits as long as ctx lets it.
func (f *Follower) next(ctx context.Context) (job.Event, error) {
	for len(f.ready) == 0 {
		if f.over {
			return job.Event{}, ErrOver
		}
		f.held.Release() // the caller has got the events that were ready
		if f.look {
			if err := f.read(ctx); err != nil {
				return job.Event{}, fmt.Errorf("follow job %s: %w", f.id, err)
			}
			continue
		}
		select {
		case <-f.wake:
			f.quiet = false
			f.looks.Soon()
		case <-f.looks.Due():
			f.quiet = true
			f.looks.Seldomer()
			f.lookAtPackages(ctx)
		case <-f.stopping:
			return job.Event{}, ErrStopping
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
// ended without an event, because no caller followed it at that time.
func (f *Follower) read(ctx context.Context) error {
	events, fits, err := f.fetch(ctx)
	if err != nil {
		return err
	}
	if !fits {
		f.look, f.quiet = false, false // with the next look
		f.looks.Soon()
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
		f.add(e)
	}
	return nil
}

// fetch reads events that this follower may hold. A slow reader holds them for long, so they count
// for the caller; and only some followers at once have events of unknown size.
func (f *Follower) fetch(ctx context.Context) (events []job.Event, fits bool, err error) {
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

// add makes e the next event, after a gap if there is one.
func (f *Follower) add(e job.Event) {
	f.waits.over = f.waits.over || e.Type != job.EventStatus
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

// readEnd is for the event of the end, which the message of the end completes, or the record. If it is the only
// one, the record has everything.
func (f *Follower) readEnd(ctx context.Context, id job.EventID) error {
	if r := f.reportedResult(id); r != nil {
		f.after = id
		f.finish(job.Job{ID: f.id, State: job.Completed, Attempt: id.Attempt, Result: r})
		return nil
	}
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
	f.finish(j)
	return nil
}

// reportedResult is the result that the message of the end has brought, if it has, and if the events of that attempt were seen.
func (f *Follower) reportedResult(end job.EventID) *job.Result {
	if f.after.Attempt != end.Attempt {
		return nil
	}
	select {
	case r := <-f.reported:
		return r
	default:
		return nil
	}
}

// readRecord makes the events of a job that has ended from its record. It does nothing
// while the job has not ended.
func (f *Follower) readRecord(ctx context.Context) error {
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
	f.finish(j)
	return nil
}

func (f *Follower) finish(j job.Job) {
	f.ready = append(f.ready, endEvent(j))
	f.over, f.look = true, false
}
