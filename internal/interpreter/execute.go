package interpreter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/kaa-run/kaa/internal/capture"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/process"
	"github.com/kaa-run/kaa/internal/protocol"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// parseTime is the time limit for reading all results of an execution, on a busy machine.
const parseTime = 10 * time.Second

// run is the state of one execution.
type run struct {
	w        *Worker
	journal  *capture.Journal
	streams  *capture.Streams
	pumps    *goroutines
	frames   chan protocol.Event
	quota    job.Quota
	duration time.Duration
	// cpuMicros is the processor time of the slot before the execution. At its end it is that
	// of the execution, if the run did not wait for the slot's report.
	cpuMicros int64
	// ahead is the processor time of the worker before the execution, for modules of its packages.
	ahead int64
	// used returns the processor time of a session's interpreter; nil if there is no session.
	used func() int64

	stopped  string            // the reason for the kill ladder; empty if it has not begun
	report   *protocol.Frame   // the error that the code raised, as the worker reports it
	status   *protocol.Frame   // the end of the code, as the worker reports it
	protocol error             // the error of an invalid frame from the worker
	network  *job.NetworkUsage // before the run; nil if there was none
	aborted  bool              // Close was called during the run
	exceeded string            // the limit for which the watchdog ended the code
	lasting  bool              // a session's worker, which executes again
	pausing  *pausing          // of the session; nil if there is none
	abrupt   bool              // the end of its time kills the code at once
	// lenient is set once the code is interrupted. It may use all processors until its grace
	// ends.
	lenient  atomic.Bool
	requests requests
	calls    calls
}

// Execute runs spec.Code or spec.Command once. It returns when the code has ended, its output is complete, and all
// processes that it started have ended or are being killed by the kernel. If spec.Timeout or ctx
// ends first, the code gets SIGINT and, after a grace, SIGKILL. The result is then
// StatusInterrupted with the output so far, and the error nil. An error means that a part of Kaa
// failed. After job.ErrNotStarted the caller may try another worker. The caller fills in JobID and
// QueuedMs of the result.
func (w *Worker) Execute(ctx context.Context, spec job.Spec, live job.Live) (job.Result, error) {
	if err := w.begin(); err != nil {
		return job.Result{}, err
	}
	defer w.executing.Done()

	quota := spec.Quota
	if quota == (job.Quota{}) {
		quota = w.pool.cfg.Quota
	}
	quota, _ = w.pool.cfg.Ceilings.Fit(quota)
	if err := w.fits(quota); err != nil {
		return job.Result{}, err
	}
	if spec.Command != nil {
		return w.executeCommand(ctx, spec, live, quota)
	}
	r := &run{
		w: w, quota: quota, journal: w.newJournal(quota),
		frames: make(chan protocol.Event, protocol.FollowRoom), pumps: newGoroutines(), abrupt: spec.KillAtTimeout,
	}
	if ctx.Err() != nil {
		r.stopped = cancelled
		return r.result(), nil
	}
	if err := errors.Join(w.limit(quota), w.openNetwork(spec.Network)); err != nil {
		return job.Result{}, fmt.Errorf("execute on %s: %w", w.id, err)
	}
	r.listen(w.id, live.Tap)
	r.feed(spec.Stdin)

	envs := spec.Envs
	if quota.CPUs > 1 {
		envs = process.ThreadVariables(quota.CPUs)
		maps.Copy(envs, spec.Envs)
	}
	envs = w.withProxy(envs)
	r.cpuMicros = w.slot.group.CPUMicros()
	r.ahead = w.ahead(r.cpuMicros)
	started := time.Now()
	c := r.command(w.id, "exec", spec)
	c.Envs, c.Limits = envs, w.rlimits(quota, r.ahead)
	c.Args, c.Main, c.Modules = spec.Argv, w.files.script.begin(spec.Code), w.files.script.modules
	r.offer(&c, &spec, live)
	err := w.send(c)
	if err == nil {
		stop := r.passAnswers(w.id, job.Live{Replies: live.Replies})
		r.follow(ctx, spec.Timeout)
		stop()
	}
	r.duration = time.Since(started)
	r.settle()
	r.aborted = r.aborted && r.status == nil // else the code had ended by then
	w.slot.closeProxy()                      // the counts are complete then
	w.files.left = r.status == nil || r.status.Files != 0
	switch {
	case r.aborted:
		return r.result(), fmt.Errorf("execute on %s: %w", w.id, ErrClosed)
	case errors.Is(r.protocol, job.ErrNotStarted) && r.stopped == "", errors.Is(err, syscall.EPIPE):
		return job.Result{}, fmt.Errorf("execute on %s: %w", w.id, job.ErrNotStarted)
	case err != nil:
		return job.Result{}, fmt.Errorf("execute on %s: send code: %w", w.id, err)
	}
	return r.result(), nil
}

// send writes one command. After an error the worker is of no more use.
func (w *Worker) send(c protocol.Command) error {
	if err := w.control.SetWriteDeadline(time.Now().Add(w.pool.cfg.StartTimeout)); err != nil {
		return err
	}
	return w.write(c)
}

// write is send with the deadline of the socket.
func (w *Worker) write(c protocol.Command) error {
	line, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	_, err = w.control.Write(append(line, '\n'))
	return err
}

// listen begins to take the worker's output and frames for the command with an id.
func (r *run) listen(id string, tap *job.Tap) {
	tap.Attach(r.journal.Replay)
	r.streams = capture.NewStreams(r.w.stdout, r.w.stderr, tap.Tee(capture.Stdout.Name(), r.journal.Stream(capture.Stdout)), tap.Tee(capture.Stderr.Name(), r.journal.Stream(capture.Stderr)))
	r.streams.Start(r.pumps.Go, &r.w.pool.buffers, func(stream string) {
		if !r.lasting {
			r.w.pool.cfg.Log.Error("interpreter: stream does not end", slog.String("session_id", r.w.id), slog.String("stream", stream))
		}
	})
	r.w.frames.Allow(r.quota.ValueBytes())
	r.pumps.Go(func() {
		defer r.streams.Release()
		r.w.frames.Follow(id, r.frames, r.keep(tap))
	})
}

// feed gives the code its standard input and then EOF. The code need not read it:
// settle closes the pipe under a write that is stuck.
func (r *run) feed(stdin string) {
	if stdin == "" {
		_ = r.w.stdin.Close()
		return
	}
	r.pumps.Go(func() {
		_ = r.w.stdin.Write(stdin) // fails when the code has closed it or ended
		_ = r.w.stdin.Close()
	})
}

// follow waits for the end of the code, and enforces the time limit and the watched limits.
func (r *run) follow(ctx context.Context, limit time.Duration) {
	r.w.pool.executing.Add(1)
	defer r.w.pool.executing.Add(-1)
	t := r.pausing.standstill(ctx.Done(), limit)
	defer t.stop()
	frames := r.frames
	exceeded, stopWatching := r.watchLimits()
	defer stopWatching()
	// interrupt takes the first step of the ladder, or reports that it may be skipped.
	interrupt := func(why string) bool {
		r.stopped = why
		if !r.requests.any() && !r.calls.any() && process.Unread(r.w.control) && (!r.lasting || !r.awaitRead()) {
			return true // no code has begun, so it needs no grace
		}
		r.lenient.Store(true)
		r.w.interrupt()
		t.timeout.halt()
		t.timeout, t.done = newTimer(0), nil
		t.grace = newTimer(r.w.pool.cfg.Grace)
		return false
	}
	for {
		select {
		case m, ok := <-frames:
			if !ok { // the code has closed the control socket, or the process has ended
				frames = nil
			} else if r.accept(m) {
				return
			}
		case <-r.w.exited:
			r.aborted = r.w.isClosing() // Close has ended it
			return
		case r.exceeded = <-exceeded:
			return // settle kills
		case <-t.timeout.C:
			if r.abrupt {
				r.stopped = timedOut(limit)
				return // settle kills
			}
			if interrupt(timedOut(limit)) {
				return
			}
		case <-t.done:
			if interrupt(cancelled) {
				return
			}
		case <-t.grace.C:
			return // settle kills
		case <-t.begins:
			t.begin()
		case <-t.ends:
			t.end()
		case <-r.w.closing:
			r.aborted = true
			return
		}
	}
}

// accept takes a frame of the worker and reports whether it ends the run.
func (r *run) accept(m protocol.Event) bool {
	switch {
	case m.Err != nil:
		r.protocol = m.Err
		return true
	case m.Frame.Type == protocol.Status:
		r.status = &m.Frame
		return true
	default:
		r.report = &m.Frame
		return false
	}
}

// settle ends all remaining processes of the execution and completes its output. With no process
// left, the other ends of the pipes are closed.
func (r *run) settle() {
	pumped := r.pumps.last()
	if r.ended(pumped) {
		return
	}
	r.w.endProcesses()
	patience := killTime
	if !r.w.isAllGone() {
		patience = lastResort
		// The status frame follows the results, and large results take time to read.
		_ = r.w.control.SetReadDeadline(time.Now().Add(lastResort + parseTime))
	}
	_ = r.w.stdin.Close()
	r.finishOutput(pumped, patience)
	for m := range r.frames { // what the worker sent just before its end
		if r.status == nil && r.protocol == nil {
			r.accept(m)
		}
	}
}

// finishOutput waits until the output is complete. If the other ends of the pipes stay open, that is never.
// So it gives up, and passes on what is in the pipes, when nothing has been read for the given time, or
// after killTime. It counts that time in steps, so that a busy machine has given this process its turns
// meanwhile. With less than that the output would lose its order.
func (r *run) finishOutput(pumped <-chan struct{}, patience time.Duration) {
	const steps = 10
	last, still := r.streams.Moves(), 0
	for end := time.Now().Add(killTime); still < steps && time.Now().Before(end); still++ {
		select {
		case <-pumped:
			return
		case <-time.After(patience / steps):
		}
		if moves := r.streams.Moves(); moves != last {
			last, still = moves, 0
		}
	}
	r.streams.Drain()
	<-pumped
}

// isAllGone reports whether no process can hold the other ends of the worker's channels, so that
// they have an end, however long a busy machine takes to read until there. Without a pid namespace
// a process may have escaped the kill for a while, and another member of a fork group may have
// got a descriptor from this one.
func (w *Worker) isAllGone() bool {
	return w.pool.cfg.Sandbox == sandbox.Strict && w.forkGroup() == nil && !w.alive()
}

// ended reports whether the result is complete before the worker's process has ended. The kernel
// takes as long to end the process as a short program runs, so the result need not wait for that.
// It is complete when the worker has sent its status and both streams are at their end, because no
// process is left that could write. The worker's end also ends everything in the sandbox. Close
// waits for it, and kills the worker if it does not exit. This needs a pid namespace, and a control
// group for the figures.
func (r *run) ended(pumped <-chan struct{}) bool {
	if r.status == nil || r.w.pool.cfg.Sandbox != sandbox.Strict || r.w.slot.group == nil {
		return false
	}
	_ = r.w.stdin.Close()
	select {
	case <-pumped:
		r.cpuMicros = r.w.slot.group.CPUMicros() - r.cpuMicros
		r.w.leaving.Store(true)
		return true
	case <-r.w.exited:
	case <-time.After(normalExit):
	}
	return false
}

// command returns the command for an execution, with the fields that sessions and single executions
// share.
func (r *run) command(id, cmd string, spec job.Spec) protocol.Command {
	return protocol.Command{
		ID: id, Cmd: cmd, Code: spec.Code, Cwd: spec.Cwd, Options: spec.Options, Results: r.quota.ValueBytes(), Marks: r.streams.Prefix,
	}
}
