package service

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
)

const (
	// outputAtOnce is how many pieces of output an attached caller holds: as much as may wait for it.
	outputAtOnce = 16
	// tookEvery is how often an attached caller says that it is there; well below job.AttachLease.
	tookEvery = 10 * time.Second
	// attachAgain is after how long a runner that did not answer is asked again, and attachWait how long it has in all
	// once the command runs.
	attachAgain = 2 * time.Second
	attachWait  = 15 * time.Second
	// fullPause is how long input waits that the command has no room for.
	fullPause = 20 * time.Millisecond
)

// ErrNotAttached means that the runner of a command does not answer, or cannot pass on bytes.
var ErrNotAttached = errors.New("the command's runner did not attach in time")

// ErrFellBehind means that a caller was silent for so long that its command went on without it.
var ErrFellBehind = errors.New("the command went on without this caller")

// Attached gets all output of a command of a session as bytes, from a moment on, and the command waits for it. It is to be
// closed. Next is for one goroutine; Send may be called beside it.
type Attached struct {
	s       *Service
	c       Caller
	session string
	id      string
	name    string // of the follower
	wake    chan struct{}
	told    <-chan *job.Result
	forget  func()

	asked, askedFirst time.Time
	pid               int
	marked            bool // its output has begun
	attempt           int
	at, taken         uint64 // the position of the last output that was read, and the one that the store has
	took              time.Time
	ready             []job.CommandOutput
	ended             bool // there is no more output
	outage            Outage
	looks             Looks
	held              *job.Holding
}

// StartAttached starts a command of a session, in the background, and attaches to it from its beginning.
func (s *Service) StartAttached(ctx context.Context, c Caller, sub Submission) (*Attached, error) {
	name, err := followerName()
	if err != nil {
		return nil, err
	}
	sub.Request.Background, sub.Request.Attach = true, name
	created, err := s.Submit(ctx, c, sub)
	if err != nil {
		return nil, err
	}
	return s.attached(ctx, c, created.Job.SessionID, created.Job.ID, name, true)
}

// AttachCommand attaches to a command of a session that has not ended.
func (s *Service) AttachCommand(ctx context.Context, c Caller, session, id string) (*Attached, error) {
	if err := s.ownCommand(ctx, c, session, id); err != nil {
		return nil, err
	}
	name, err := followerName()
	if err != nil {
		return nil, err
	}
	a, err := s.attached(ctx, c, session, id, name, false)
	if err != nil {
		return nil, err
	}
	if err := a.ask(ctx); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

func followerName() (string, error) {
	name, err := uuid.NewRandom()
	if err != nil {
		return "", fmt.Errorf("attach to a command: %w", err)
	}
	return name.String(), nil
}

func (s *Service) attached(ctx context.Context, c Caller, session, id, name string, asked bool) (*Attached, error) {
	a := &Attached{s: s, c: c, session: session, id: id, name: name, wake: make(chan struct{}, 1), held: s.cfg.Answers.For(c.ID())}
	if asked {
		a.asked = time.Now()
	}
	quiet := s.cfg.Notifier.Listen(id, func() {
		select {
		case a.wake <- struct{}{}:
		default:
		}
	})
	told, forget := s.cfg.Hub.wait(id)
	a.told, a.forget = told, func() { quiet(); forget() }
	if err := s.cfg.Lookup.Watch(ctx, id, s.cfg.Hub.Subscriber); err != nil {
		a.Close()
		return nil, fmt.Errorf("attach to command %s: %w", id, err)
	}
	return a, nil
}

// ID is the id of the command.
func (a *Attached) ID() string { return a.id }

// PID is the process id of the command as its session sees it; 0 as long as it is not known.
func (a *Attached) PID() int { return a.pid }

// Close ends the attachment. The command goes on.
func (a *Attached) Close() {
	a.forget()
	a.looks.Stop()
	a.held.Release()
	a.s.cfg.Background.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), tookEvery)
		defer cancel()
		_ = a.s.cfg.Commands.LeaveOutput(ctx, a.id, a.name) // else the command waits until the lease is over
	})
}

// ask has the runner attach this caller.
func (a *Attached) ask(ctx context.Context) error {
	a.asked = time.Now()
	return a.s.cfg.Commands.TellCommand(ctx, a.session, a.c.ID(), a.id, job.CommandMessage{Attach: a.name})
}

// Send sends the command input, a signal or a size. Input waits until there is room for it.
func (a *Attached) Send(ctx context.Context, m job.CommandMessage) error {
	var outage Outage
	for {
		err := a.s.TellCommand(ctx, a.c, a.session, a.id, m)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, job.ErrInputFull) && m.IsInput():
			select {
			case <-time.After(fullPause):
			case <-ctx.Done():
				return ctx.Err()
			}
		default:
			if err = outage.Bear(ctx, err); err != nil {
				return err
			}
		}
	}
}

// Next returns the next output. The first is a mark. ErrOver: the command has ended and all output was returned; Ended
// has the end. The caller may use the output until it calls Next again.
func (a *Attached) Next(ctx context.Context) (job.CommandOutput, error) {
	for {
		if len(a.ready) > 0 {
			o := a.ready[0]
			a.ready = a.ready[1:]
			return o, nil
		}
		if a.ended {
			return job.CommandOutput{}, ErrOver
		}
		a.held.Release()
		more, err := a.read(ctx)
		if err = a.bear(ctx, err); err != nil {
			return job.CommandOutput{}, err
		}
		if more {
			continue
		}
		select {
		case <-a.wake:
			a.looks.Soon()
		case <-a.told:
			err = a.over(ctx)
		case <-a.looks.Due():
			a.looks.Seldomer()
			err = a.over(ctx)
		case <-a.s.cfg.Draining:
			return job.CommandOutput{}, ErrStopping
		case <-ctx.Done():
			return job.CommandOutput{}, ctx.Err()
		}
		if err = a.bear(ctx, err); err != nil {
			return job.CommandOutput{}, err
		}
	}
}

// bear lets Redis be away for a short time.
func (a *Attached) bear(ctx context.Context, err error) error {
	if err == nil {
		a.outage.Over()
		return nil
	}
	return a.outage.Bear(ctx, err)
}

// read says what was taken, and reads more.
func (a *Attached) read(ctx context.Context) (more bool, err error) {
	due := a.at-a.taken >= job.OutputWindow/4 || time.Since(a.took) >= tookEvery
	if a.marked && due {
		lost, err := a.s.cfg.Commands.TookOutput(ctx, a.id, a.name, a.at)
		switch {
		case err != nil:
			return false, err
		case lost:
			return false, ErrFellBehind
		}
		a.taken, a.took = a.at, time.Now()
	}
	select {
	case a.s.fetches <- struct{}{}:
		defer func() { <-a.s.fetches }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	out, err := a.s.cfg.Commands.Output(ctx, a.id, a.attempt, a.at, outputAtOnce)
	if err != nil {
		return false, err
	}
	size := int64(0)
	for _, o := range out {
		size += int64(len(o.Data))
	}
	if !job.TryHold(a.held.In(ctx), size) {
		return false, nil
	}
	for _, o := range out {
		a.keep(o)
	}
	return len(a.ready) > 0 || len(out) == outputAtOnce, nil
}

// keep makes output ready that is this caller's.
func (a *Attached) keep(o job.CommandOutput) {
	a.attempt, a.at = o.Attempt, o.At
	switch {
	case a.ended:
	case o.Kind == job.OutputMark:
		name, pid, _ := strings.Cut(string(o.Data), " ")
		if name == a.name && !a.marked {
			a.marked, a.took, a.taken = true, time.Now(), o.At
			a.pid, _ = strconv.Atoi(pid)
			a.ready = append(a.ready, o)
		}
	case o.Kind == job.OutputEnd:
		a.ended = a.marked
	case a.marked:
		a.ready = append(a.ready, o)
	}
}

// over looks whether the command has ended, and sees to it that its runner attaches.
func (a *Attached) over(ctx context.Context) error {
	j, err := a.s.cfg.Lookup.Summary(ctx, a.id)
	switch {
	case errors.Is(err, job.ErrGone), errors.Is(err, job.ErrNotFound), err == nil && j.State.Terminal():
		// All output before the end is there by now.
		more, err := a.read(ctx)
		if err == nil && !more {
			a.ended = true
		}
		return err
	case err != nil:
		return err
	case a.marked || j.State != job.Running:
		return nil
	}
	a.looks.Soon()
	if a.askedFirst.IsZero() {
		a.askedFirst = time.Now()
	}
	if time.Since(a.askedFirst) > attachWait {
		return ErrNotAttached
	}
	if time.Since(a.asked) > attachAgain {
		if err = a.ask(ctx); errors.Is(err, job.ErrCommandEnded) {
			err = nil // the next look finds it
		}
	}
	return err
}

// Ended returns the command after its end.
func (a *Attached) Ended(ctx context.Context) (job.Job, error) {
	a.held.Release() // the caller has got the output
	for {
		j, err := a.s.cfg.Lookup.Get(a.held.In(ctx), a.id)
		if err == nil && j.State.Terminal() {
			return j, nil
		}
		if err = a.bear(ctx, err); err != nil {
			return j, err
		}
		select {
		case <-a.told:
		case <-a.looks.Due():
			a.looks.Seldomer()
		case <-a.s.cfg.Draining:
			return j, ErrStopping
		case <-ctx.Done():
			return j, ctx.Err()
		}
	}
}

// BeginCommandSocket counts a client that is attached to a command, or is about to be, until end is called.
func (s *Service) BeginCommandSocket(c Caller, session string) (end func(), err error) {
	if err := c.may(access.Execute); err != nil {
		return nil, err
	}
	return s.cfg.Hub.beginSocket(session, c.ID(), s.cfg.MaxSyncWaits)
}

// CheckLive refuses a session that is not the caller's, or has ended.
func (s *Service) CheckLive(ctx context.Context, c Caller, session string) error {
	if err := c.may(access.Execute); err != nil {
		return err
	}
	return s.checkLive(ctx, c, session)
}
