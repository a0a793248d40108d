package runner

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// CommandRecords are the store's methods for messages to commands of sessions.
type CommandRecords interface {
	// CommandMessages returns the next messages to a command after the one with an id; empty for the first ones.
	CommandMessages(ctx context.Context, jobID, after string) ([]job.StoredMessage, error)
	// TookMessages removes messages that the command has taken.
	TookMessages(ctx context.Context, jobID string, ids []string) error
	// CommandStarted records the process id of a command.
	CommandStarted(ctx context.Context, c job.Claim, pid int) error
	// AttachOutput adds a follower of the output, from a position on. AppendOutput writes output for the followers, and returns
	// how far all of them have taken it, and whether there are any. With waits, the runner gets a message when they take more.
	AttachOutput(ctx context.Context, c job.Claim, follower string, at uint64, pid int) error
	AppendOutput(ctx context.Context, c job.Claim, waits bool, out ...job.CommandOutput) (taken uint64, followed bool, err error)
}

// Commander runs commands in the sandbox of an interpreter. Its method may be called at any time, and by several
// goroutines at once.
type Commander interface {
	// Run runs the command of spec and returns when it has ended. The end of ctx interrupts it. An error means that Kaa's
	// part broke, or that the interpreter has ended.
	Run(ctx context.Context, spec job.Spec, live job.Live) (job.Result, error)
}

// command carries out a command of a session, beside its other lanes. The end of the interpreter is the default lane's to
// notice.
func (s *sessions) command(ctx context.Context, log *slog.Logger, l *lane, e *execution) job.Outcome {
	i, err := l.se.Interpreter(ctx)
	for errors.Is(err, job.ErrNoWorker) && ctx.Err() == nil {
		moved, failed := s.awaitAble(ctx, log, l.se, e.claim)
		if moved {
			return job.Outcome{}
		}
		if failed != nil {
			return sessionFailed(*failed)
		}
		i, err = l.se.Interpreter(ctx)
	}
	if o, known := cutOff(ctx, err); err != nil && known {
		return o
	}
	if refused, ok := errors.AsType[*job.RefusedError](err); ok {
		return job.Outcome{State: job.Failed, Failure: refusal(refused)}
	}
	if err != nil {
		log.ErrorContext(ctx, "no interpreter could be started for a command of a session", slog.Any("err", err))
		return sessionFailed(job.SessionEnd{Reason: job.EndStartFailed, Message: "no Python interpreter could be started for it"})
	}
	runs, can := i.(Commander)
	if !can {
		return refused("the runner cannot run commands in sessions")
	}
	messages, stop := s.passMessages(ctx, log, e)
	live := job.Live{Tap: e.tap, Messages: messages}
	if e.outlet != nil {
		live.Bytes = e.outlet
	}
	result, err := runs.Run(ctx, e.claim.Spec, live)
	stop()
	e.outlet.end()
	result.JobID, result.SessionID = e.claim.JobID, l.se.id
	result.QueuedMs = float64(e.claim.Waited) / float64(time.Millisecond)
	why := cause(ctx)
	interrupted := result.Status == job.StatusInterrupted
	switch {
	case errors.Is(why, errCancelled) && err == nil && interrupted:
		return job.Outcome{State: job.Cancelled, Result: &result}
	case why != nil && (err != nil || interrupted):
		o, _ := cutOff(ctx, err)
		return o
	case err != nil:
		log.ErrorContext(ctx, "a command of a session broke", slog.Any("err", err))
		return job.Outcome{State: job.Failed, Failure: &job.Failure{Code: job.FailWorker, Message: "the command could not be carried out: the session's sandbox has ended or is broken"}}
	}
	return job.Outcome{State: job.Completed, Result: &result}
}

// CommandTold makes the runner read the messages to a command. It may be called repeatedly.
func (r *Runner) CommandTold(jobID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.active[jobID]; e != nil {
		e.wake()
		e.outlet.wake()
	}
}

// wakeCommands makes all commands read their messages, in case that one to this runner was lost.
func (r *Runner) wakeCommands() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.active {
		e.wake()
	}
}

// wake never blocks. An execution without messages has no channel.
func (e *execution) wake() {
	select {
	case e.messages <- struct{}{}:
	default:
	}
}

const (
	// tookBatch is the number of taken messages after which the store removes them.
	tookBatch = 64
	// tookTime bounds the removal.
	tookTime = 5 * time.Second
)

// passing is the state of the passing of messages to one command.
type passing struct {
	records        CommandRecords
	log            *slog.Logger
	e              *execution
	input, control chan job.StoredMessage // to the command
	took           chan string            // ids of input that the command has taken
	quit           chan struct{}          // closed when nothing is to be passed on any more
	last           string                 // the id of the last message read
	waiting        []job.StoredMessage
	taken          []string
}

// passMessages passes messages on to a command until stop is called. Input that the command does not read keeps no signal
// from it, and the store bounds how much waits.
func (s *sessions) passMessages(ctx context.Context, log *slog.Logger, e *execution) (m *job.CommandMessages, stop func()) {
	if s.r.cfg.CommandRecords == nil || e.messages == nil {
		return nil, func() {}
	}
	p := &passing{
		records: s.r.cfg.CommandRecords, log: log, e: e,
		input: make(chan job.StoredMessage), control: make(chan job.StoredMessage), took: make(chan string), quit: make(chan struct{}),
	}
	m = &job.CommandMessages{Input: p.input, Control: p.control, Taken: func(in job.StoredMessage) {
		select {
		case p.took <- in.ID:
		case <-p.quit:
		}
	}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if c := e.claim.Spec.Command; c.Input || c.Background {
			e.wake() // there may be some that came before; for a command in the foreground the next look is soon enough
		}
		for p.pass(ctx) {
			continue
		}
		p.forget(ctx)
	}()
	return m, func() {
		close(p.quit)
		<-done
	}
}

// pass does one step. It returns false if nothing is to be passed on any more.
func (p *passing) pass(ctx context.Context) bool {
	input, next := p.next()
	select {
	case input <- next:
		p.waiting = p.waiting[1:]
	case id := <-p.took:
		p.taken = append(p.taken, id)
	case <-p.e.messages:
		p.read(ctx)
	case <-p.quit:
		return false
	}
	if len(p.taken) >= tookBatch || len(p.waiting) == 0 {
		p.forget(ctx)
	}
	return true
}

// next returns the next input, and where to send it: nowhere if there is none.
func (p *passing) next() (chan<- job.StoredMessage, job.StoredMessage) {
	if len(p.waiting) == 0 {
		return nil, job.StoredMessage{}
	}
	return p.input, p.waiting[0]
}

// read reads the messages that have come, and passes on those that are no input.
func (p *passing) read(ctx context.Context) {
	for {
		came, err := p.records.CommandMessages(ctx, p.e.claim.JobID, p.last)
		if err != nil && ctx.Err() == nil {
			p.log.WarnContext(ctx, "could not read messages to a command: will try again", slog.Any("err", err))
		}
		if len(came) == 0 {
			return
		}
		for _, m := range came {
			p.last = m.ID
			if m.IsInput() {
				p.waiting = append(p.waiting, m)
				continue
			}
			p.taken = append(p.taken, m.ID)
			if m.Attach != "" {
				p.e.outlet.attach(m.Attach)
				continue
			}
			// The command takes the second one, which is nothing, when the first one has had its effect. So input finds
			// the size of the terminal that was set before it.
			for _, next := range []job.StoredMessage{m, {}} {
				if !p.passControl(next) {
					return
				}
			}
		}
	}
}

// passControl passes on a message that is no input. Meanwhile the command may take input that came before, and note what it has of it: a command that has
// ended takes no other message any more, and ends when its input is noted. passControl returns false if nothing is to be passed on any more.
func (p *passing) passControl(m job.StoredMessage) bool {
	for {
		input, next := p.next()
		select {
		case p.control <- m:
			return true
		case input <- next:
			p.waiting = p.waiting[1:]
		case id := <-p.took:
			p.taken = append(p.taken, id)
		case <-p.quit:
			return false
		}
	}
}

// forget removes the messages that were taken from the store.
func (p *passing) forget(ctx context.Context) {
	if len(p.taken) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tookTime)
	defer cancel()
	if err := p.records.TookMessages(ctx, p.e.claim.JobID, p.taken); err != nil {
		p.log.WarnContext(ctx, "messages that a command has taken are still stored: will try again", slog.Any("err", err))
		return
	}
	p.taken = p.taken[:0]
}
