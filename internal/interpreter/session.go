package interpreter

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/process"
	"github.com/kaa-run/kaa/internal/protocol"
)

// Session is a worker that executes several pieces of code in one namespace. Globals, modules,
// working directory and files stay. Between executions the runner does not read the pipes. So output
// that the session's threads write meanwhile belongs to the next execution. The caller must close
// the session. Only one goroutine at a time may call its methods, except Alive, Close, Start, Context, and those of its
// files but for Collect.
type Session struct {
	w     *Worker
	quota job.Quota
	envs  map[string]string
	n     int // executions so far
	// oomKills is the slot's number of OOM kills before the last execution.
	oomKills atomic.Int64
	// origin is the work directory of the session of which this one is a fork.
	origin string

	pausing  *pausing
	commands *commands // that run beside the interpreter
	contexts *contexts // other interpreters in the same sandbox; nil in one of these

	closeOnce sync.Once
	closeErr  error
}

// Session opens a session on a parked worker. It returns job.ErrNoRuntime if the pool has no such
// runtime.
func (p *Pool) Session(ctx context.Context, spec job.SessionSpec) (*Session, error) {
	quota, _ := p.cfg.Ceilings.Fit(spec.Quota.Or(p.cfg.Quota))
	w, err := p.Acquire(ctx, spec.Runtime)
	for err == nil && w.fits(quota) != nil {
		_ = w.Close() // it has executed nothing
		w, err = p.Acquire(ctx, spec.Runtime)
	}
	if err != nil {
		return nil, err
	}
	_ = w.stdin.Close() // executions get their standard input as a file
	s := &Session{w: w, quota: quota, envs: spec.Envs, pausing: newPausing(), commands: newCommands(), contexts: &contexts{}}
	s.oomKills.Store(w.oomKills)
	if s.quota.CPUs > 1 {
		s.envs = process.ThreadVariables(s.quota.CPUs)
		maps.Copy(s.envs, spec.Envs)
	}
	if err = w.begin(); err == nil {
		err = w.limit(s.quota)
		w.executing.Done()
	}
	if err == nil {
		err = w.openNetwork(spec.Network)
		s.envs = w.withProxy(s.envs)
	}
	if err == nil {
		err = s.settle(spec)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open session on %s: %w", w.id, err), w.Close())
	}
	return s, nil
}

// Alive returns nil while the interpreter lives within its limits; otherwise the reason for the
// session's end.
func (s *Session) Alive() *job.SessionEnd {
	if s.pausing.ranOn.Load() {
		return &job.SessionEnd{Reason: job.EndKilled, Message: "its code went on while the session was paused"}
	}
	if s.commands.exceeded.Load() {
		return s.outOfMemory()
	}
	memory := s.w.slot.group.OOMKills() > s.oomKills.Load()
	if s.w.alive() {
		// Without control groups, only this check limits memory between executions.
		if memory = s.w.slot.group == nil && s.w.slot.exceeds(s.quota.MemoryBytes); !memory {
			return nil
		}
	}
	if memory && s.w.slot.group != nil && !s.w.hitLimit() {
		return &job.SessionEnd{Reason: job.EndMemory, Message: "the runner had no memory left; its code had not used up its own limit of " + inUnits(s.quota.MemoryBytes)}
	}
	if memory {
		return s.outOfMemory()
	}
	return &job.SessionEnd{Reason: job.EndCrashed, Message: "its interpreter has ended"}
}

func (s *Session) outOfMemory() *job.SessionEnd {
	return &job.SessionEnd{Reason: job.EndMemory, Message: fmt.Sprintf("its code needed more than its limit of %s of memory", inUnits(s.quota.MemoryBytes))}
}

// Execute runs spec.Code. It returns when the code has ended and its output until then is in the
// result. If spec.Timeout or ctx ends first, the code gets SIGINT. If it does not end within the
// grace, the interpreter is killed. If the interpreter has ended, the second result has the reason,
// and the caller should close the session. An error means that a part of Kaa failed. With
// job.ErrNotStarted, the interpreter had ended before.
func (s *Session) Execute(ctx context.Context, spec job.Spec, live job.Live) (job.Result, *job.SessionEnd, error) {
	w := s.w
	if err := w.beginAgain(); err != nil {
		return job.Result{}, nil, err
	}
	defer w.endOne()
	if end := s.Alive(); end != nil {
		return job.Result{}, end, fmt.Errorf("execute on %s: %w", w.id, job.ErrNotStarted)
	}
	quota := s.quota.With(spec.Quota)
	r := &run{
		w: w, quota: quota, journal: w.newJournal(quota),
		frames: make(chan protocol.Event, protocol.FollowRoom), pumps: newGoroutines(), pausing: s.pausing, lasting: true,
		network: w.networkUsage(),
	}
	if ctx.Err() != nil {
		r.stopped = cancelled
		return r.result(), nil, nil
	}
	s.n++
	w.oomKills, w.oomHits = w.slot.group.OOMKills(), w.slot.group.LimitHits()
	s.oomKills.Store(w.oomKills)
	id := strconv.Itoa(s.n)
	r.requests.allowed = live.Answers != nil
	r.listen(id, live.Tap)
	c := r.command(id, "session", spec)
	c.Execution, c.Stdin, c.Envs, c.Input, c.PromptApart = s.n, spec.Stdin, spec.Envs, live.Answers != nil, spec.PromptApart
	r.offer(&c, &spec, live)
	if s.n == 1 {
		c.Limits, c.Session = s.limits(), s.envs
		if !w.guest {
			c.Workdir = w.place
		}
	}
	r.used = w.cpuMicros
	r.cpuMicros = r.used()
	cpu := r.cpuMicros
	started := time.Now()
	answered := s.pausing.ask() // a stopped interpreter does not read it
	err := w.send(c)
	answered()
	if err == nil {
		stop := r.passAnswers(c.ID, live)
		r.follow(ctx, spec.Timeout)
		stop()
	}
	r.duration = time.Since(started)
	w.files.left = r.status == nil || r.status.Files != 0
	kept := s.pause(r)
	r.cpuMicros = max(0, r.used()-cpu)
	switch {
	case r.aborted:
		return r.result(), nil, fmt.Errorf("execute on %s: %w", w.id, ErrClosed)
	case errors.Is(r.protocol, job.ErrNotStarted) && r.stopped == "", errors.Is(err, syscall.EPIPE):
		return job.Result{}, s.Alive(), fmt.Errorf("execute on %s: %w", w.id, job.ErrNotStarted)
	case err != nil:
		return job.Result{}, nil, fmt.Errorf("execute on %s: send code: %w", w.id, err)
	}
	res := r.result()
	res.CPUMs = float64(r.cpuMicros) / 1000
	if kept {
		return res, nil, nil
	}
	return res, r.sessionEnd(res), nil
}

// limits returns the session's limits that the kernel enforces for each process. Processor time is
// not among them, because the kernel would count all executions together.
func (s *Session) limits() map[string]int64 {
	q := s.quota
	q.CPUTime = 0
	return s.w.pool.rlimits(q)
}

// pause completes the output of an execution. It returns true if the interpreter is ready for the
// next execution; otherwise it has ended the interpreter.
func (s *Session) pause(r *run) bool {
	if r.status == nil || r.aborted || r.requests.broken || r.exceeded != "" || (r.stopped != "" && s.w.syncSlot() != nil) {
		r.settle()
		return false
	}
	// The worker has flushed all output before it sent the status.
	r.streams.Drain()
	<-r.pumps.last()
	return true
}

// sessionEnd returns the reason why an execution was the last one of its session.
func (r *run) sessionEnd(res job.Result) *job.SessionEnd {
	name, value := r.limitExceeded()
	switch {
	case r.status == nil && name == memoryExceeded:
		return &job.SessionEnd{Reason: job.EndMemory, Message: value}
	case r.status == nil && name == cpuExceeded:
		return &job.SessionEnd{Reason: job.EndCPU, Message: value}
	case r.stopped != "":
		return &job.SessionEnd{Reason: job.EndKilled, Message: "an execution did not end when it was interrupted"}
	}
	message := "its interpreter has ended"
	if res.Error != nil {
		message += ": " + res.Error.Name
	}
	return &job.SessionEnd{Reason: job.EndCrashed, Message: message}
}

// Close ends the contexts, the commands and the interpreter. It lets the interpreter shut down, so that atexit functions run and
// threads are joined, and kills it after the grace. It cuts off a running execution. Further calls
// do nothing.
func (s *Session) Close() error {
	s.closeOnce.Do(func() {
		if s.contexts != nil { // the pause of a context is that of its session
			_ = s.Resume() // a process that is stopped cannot shut down; it is killed anyway
		}
		s.contexts.close()
		s.closeCommands()
		if s.w.lastCommand() && s.w.send(protocol.Command{Cmd: "shutdown"}) == nil {
			s.w.exitsWithin(s.w.pool.cfg.Grace)
		}
		s.closeErr = s.w.Close()
	})
	return s.closeErr
}

// lastCommand prevents further executions, and reports whether the worker lives and is idle.
func (w *Worker) lastCommand() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	return !w.busy && w.alive()
}

// beginAgain begins one of several executions or other uses of a session's worker.
func (w *Worker) beginAgain() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return fmt.Errorf("execute on %s: %w", w.id, ErrClosed)
	}
	w.busy = true
	w.executing.Add(1)
	return nil
}

func (w *Worker) endOne() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy = false
	w.executing.Done()
}

// syncSlot returns once the slot has executed all earlier commands. An earlier interrupt has then
// reached the code for which it was sent, and cannot reach the next code.
func (w *Worker) syncSlot() error {
	_, err := w.askSlot("P")
	return err
}

// askSlot sends the slot a command and returns its answer.
func (w *Worker) askSlot(command string, fds ...int) (process.Message, error) {
	w.asking.Lock()
	defer w.asking.Unlock()
	if f := w.forkGroup(); f != nil {
		return f.ask(command, fds...)
	}
	w.sendSlot(command, fds...)
	select {
	case m := <-w.answers:
		return m, m.Failure()
	case <-w.exited:
		return process.Message{}, ErrClosed
	case <-time.After(slotAnswerTimeout):
		return process.Message{}, os.ErrDeadlineExceeded
	}
}

// awaitRead waits until the worker has read the command, for the grace at most, and reports whether it
// has. An interrupt before that would have no effect. On a busy machine the worker needs a while.
func (r *run) awaitRead() bool {
	grace := time.After(r.w.pool.cfg.Grace)
	for process.Unread(r.w.control) {
		select {
		case <-grace:
			return false
		case <-r.w.exited:
			return true
		case <-time.After(time.Millisecond):
		}
	}
	return true
}
