package interpreter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"time"

	"github.com/kaa-run/kaa/internal/capture"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/process"
)

// commandRun is the state of a command that is executed to its end, as run is that of code.
type commandRun struct {
	*run
	s              *Session
	c              *Command // nil if it was not started
	stdout, stderr *os.File // the runner's ends
	noStderr       *os.File // in place of standard error, for a terminal
	started        time.Time
	over           chan struct{} // closed when it takes no more messages
	bytes          job.ByteSink  // nil if there is none
}

// executeCommand runs spec.Command to its end, as Execute runs code: with the same limits, time limit and
// capture of the output. The worker's interpreter stays idle.
func (w *Worker) executeCommand(ctx context.Context, spec job.Spec, live job.Live, quota job.Quota) (job.Result, error) {
	s := &Session{w: w, quota: quota, commands: newCommands()}
	if quota.CPUs > 1 {
		s.envs = process.ThreadVariables(quota.CPUs)
	}
	r := newCommandRun(s, quota, w.newJournal(quota))
	r.abrupt = spec.KillAtTimeout
	if ctx.Err() != nil {
		r.stopped = cancelled
		return r.result(), nil
	}
	if err := errors.Join(w.limit(quota), w.openNetwork(spec.Network)); err != nil {
		return job.Result{}, fmt.Errorf("execute command on %s: %w", w.id, err)
	}
	s.envs = w.withProxy(s.envs)
	w.files.left = true
	defer s.closeCommands()
	refused, err := r.start(ctx, spec)
	switch {
	case err != nil && !w.alive():
		return job.Result{}, fmt.Errorf("execute command on %s: %w", w.id, errors.Join(job.ErrNotStarted, err))
	case err != nil:
		return job.Result{}, fmt.Errorf("execute command on %s: %w", w.id, err)
	case refused != nil:
		return r.refused(refused), nil
	}
	r.listenTo(live.Tap)
	r.feedCommand(spec.Stdin)
	r.watch(ctx, spec.Timeout)
	r.duration = time.Since(r.started)
	r.settle()
	w.slot.closeProxy()
	if r.aborted {
		return r.result(), fmt.Errorf("execute command on %s: %w", w.id, ErrClosed)
	}
	return r.result(), nil
}

func newCommandRun(s *Session, quota job.Quota, journal *capture.Journal) *commandRun {
	return &commandRun{s: s, over: make(chan struct{}), run: &run{w: s.w, quota: quota, journal: journal, pumps: newGoroutines(), network: s.w.networkUsage()}}
}

// start starts the command. The first result says what about the command kept it from starting.
func (r *commandRun) start(ctx context.Context, spec job.Spec) (*job.CommandError, error) {
	command := *spec.Command
	command.Envs = make(map[string]string, len(spec.Command.Envs)+len(spec.Envs))
	maps.Copy(command.Envs, spec.Command.Envs)
	maps.Copy(command.Envs, spec.Envs)
	var err error
	r.c, err = r.s.Start(ctx, command)
	if refused, ok := errors.AsType[*job.CommandError](err); ok {
		return refused, nil
	}
	if err == nil {
		r.started = r.c.began // a short command may have ended by now
	}
	if err == nil && !r.lasting {
		// The process that starts commands has used some, which is not the command's.
		r.used = func() int64 { return r.w.cpuOf(0) }
		r.cpuMicros = r.used()
	}
	return nil, err
}

// listenTo begins to take the command's output.
func (r *commandRun) listenTo(tap *job.Tap) {
	tap.Attach(r.journal.Replay)
	r.stdout, r.stderr = r.c.streams.Outputs()
	if r.noStderr != nil {
		r.stderr = r.noStderr
	}
	stdout := r.inBytes(job.OutputStdout, tap.Tee(capture.Stdout.Name(), r.journal.Stream(capture.Stdout)))
	stderr := r.inBytes(job.OutputStderr, tap.Tee(capture.Stderr.Name(), r.journal.Stream(capture.Stderr)))
	r.streams = capture.NewStreams(r.stdout, r.stderr, stdout, stderr)
	r.streams.Start(r.pumps.Go, &r.w.pool.buffers, func(stream string) {
		r.w.pool.cfg.Log.Error("interpreter: stream of a command does not end", slog.String("session_id", r.w.id), slog.String("stream", stream))
	})
}

// inBytes returns a writer to w that passes on the bytes to attached followers first. It waits for them, and with it the
// command does.
func (r *commandRun) inBytes(kind string, w io.Writer) io.Writer {
	if r.bytes == nil {
		return w
	}
	return &byteTee{r.bytes, kind, w}
}

type byteTee struct {
	bytes job.ByteSink
	kind  string
	w     io.Writer
}

func (t *byteTee) Write(p []byte) (int, error) {
	t.bytes.Stream(t.kind, p)
	return t.w.Write(p)
}

// feedCommand gives the command its standard input and then EOF. The command need not read it.
func (r *commandRun) feedCommand(stdin string) {
	input := r.c.Stdin()
	if stdin == "" {
		_ = input.Close()
		return
	}
	r.pumps.Go(func() {
		_, _ = io.WriteString(input, stdin) // fails when the command has closed it or ended
		_ = input.Close()
	})
}

// watch waits for the end of the command's first process, and enforces the time limit and the watched
// limits.
func (r *commandRun) watch(ctx context.Context, limit time.Duration) {
	r.w.pool.executing.Add(1)
	defer r.w.pool.executing.Add(-1)
	t := r.s.pausing.standstill(ctx.Done(), limit)
	defer t.stop()
	var exceeded <-chan string
	if !r.lasting { // a session's limits are watched for all that it has
		var stopWatching func()
		exceeded, stopWatching = r.watchLimits()
		defer stopWatching()
	}
	interrupt := func(why string) {
		r.stopped = why
		r.lenient.Store(true)
		r.pumps.Go(func() { _ = r.c.Signal("INT") }) // else it has ended
		t.timeout.halt()
		t.timeout, t.done = newTimer(0), nil
		t.grace = newTimer(r.w.pool.cfg.Grace)
	}
	for {
		select {
		case <-r.c.Ended():
			r.aborted = r.w.isClosing() && r.c.end.Signal != "" // Close has ended it
			return
		case r.exceeded = <-exceeded:
			return // settle kills
		case <-t.timeout.C:
			if r.abrupt {
				r.stopped = timedOut(limit)
				return // settle kills
			}
			interrupt(timedOut(limit))
		case <-t.done:
			interrupt(cancelled)
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

// settle ends all processes of the command and completes its output.
func (r *commandRun) settle() {
	_ = r.c.Stdin().Close()
	pumped := r.pumps.last()
	select {
	case <-r.c.Ended():
		select {
		case <-pumped:
		case <-time.After(normalExit): // the others may be about to end, too
		}
	default:
	}
	if err := r.c.Kill(); err != nil {
		r.w.pool.cfg.Log.Error("interpreter: processes of a command were not ended", slog.String("session_id", r.w.id), slog.Any("err", err))
		r.w.endProcesses()
	}
	r.finishOutput(pumped, lastResort)
	r.cpuMicros = r.used() - r.cpuMicros
	select {
	case <-r.c.Ended(): // what its end says is there from then on
		r.cpuMicros = max(r.cpuMicros, r.c.end.CPU.Microseconds())
	case <-time.After(lastResort):
	}
	_ = r.c.Release()
}
