package interpreter

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/kaa-run/kaa/internal/capture"
	"github.com/kaa-run/kaa/internal/job"
)

// Run runs spec.Command to its end, beside the session's executions and other commands. It returns when
// the first process has ended. Others that this has started go on until the end of the session, unless
// the end of spec.Timeout or of ctx ended the command: then all are ended. The session's limits hold for all
// of it together. If the session has ended meanwhile, the result says that the command was killed.
func (s *Session) Run(ctx context.Context, spec job.Spec, live job.Live) (job.Result, error) {
	if s.canConnect(spec.Command, live) {
		return s.runConnection(ctx, spec, live)
	}
	quota := s.quota.With(spec.Quota)
	journal := capture.NewJournal(quota, s.w.pool.room)
	defer journal.Release()
	r := newCommandRun(s, quota, journal)
	r.lasting = true
	if ctx.Err() != nil {
		r.stopped = cancelled
		return r.result(), nil
	}
	refused, err := r.start(ctx, spec)
	switch {
	case err != nil:
		return job.Result{}, err
	case refused != nil:
		return r.refused(refused), nil
	}
	if r.bytes = live.Bytes; r.bytes != nil {
		r.bytes.Started(r.c.PID())
	}
	if err := r.listenBeside(live.Tap); err != nil {
		return job.Result{}, fmt.Errorf("run command on %s: %w", s.w.id, err)
	}
	if !spec.Command.Input {
		r.feedCommand(spec.Stdin)
	}
	r.take(live.Messages)
	r.watch(ctx, spec.Timeout)
	r.duration = time.Since(r.started)
	r.settleBeside()
	return r.result(), nil
}

// listenBeside begins to take the command's output. A terminal has one stream.
func (r *commandRun) listenBeside(tap *job.Tap) error {
	if !r.c.HasTerminal() {
		r.listenTo(tap)
		return nil
	}
	none, end, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("open pipe: %w", err)
	}
	_ = end.Close()
	r.noStderr = none
	r.listenTo(tap)
	return nil
}

// take passes messages on to the command until it has ended. Input that it does not read keeps no signal
// from it.
func (r *commandRun) take(m *job.CommandMessages) {
	if m == nil {
		return
	}
	r.pumps.Go(func() {
		for {
			select {
			case in := <-m.Input:
				r.write(in)
				m.Taken(in)
			case <-r.over:
				return
			}
		}
	})
	r.pumps.Go(func() {
		for {
			select {
			case in := <-m.Control:
				r.control(in)
			case <-r.over:
				return
			}
		}
	})
}

// write gives the command its input. An error means that it has closed its input, or has ended: then what
// follows has no reader, as in a pipe.
func (r *commandRun) write(in job.StoredMessage) {
	if len(in.Data) > 0 {
		_, _ = r.c.Stdin().Write(in.Data)
	}
	if in.EOF {
		_ = r.c.Stdin().Close()
	}
}

// control sends a signal or sets the size of the terminal. An error means that the command has ended, or
// has no terminal.
func (r *commandRun) control(in job.StoredMessage) {
	var err error
	switch {
	case in.Signal != "":
		err = r.c.Signal(in.Signal)
	case in.Size != nil:
		err = r.c.Resize(*in.Size)
	}
	if err != nil {
		r.w.pool.cfg.Log.Debug("interpreter: a message to a command has no effect", slog.String("session_id", r.w.id), slog.Any("err", err))
	}
}

// settleBeside completes the output of the command. Other processes than the first go on, unless the command was
// stopped.
func (r *commandRun) settleBeside() {
	close(r.over)
	r.endInput()
	if r.bytes != nil {
		r.bytes.Finish()
	}
	if r.stopped != "" || !r.hasEnded() {
		if err := r.c.Kill(); err != nil {
			r.w.pool.cfg.Log.Error("interpreter: processes of a command were not ended", slog.String("session_id", r.w.id), slog.Any("err", err))
		}
	}
	pumped := r.pumps.last()
	select {
	case <-pumped:
	case <-time.After(shortly): // others have its output open
		r.streams.Drain()
		<-pumped
	}
	r.cpuMicros = r.c.end.CPU.Microseconds()
	_ = r.c.Release()
	if r.noStderr != nil {
		_ = r.noStderr.Close()
	}
}

// shortly is the time in which the streams of a command have their end if no other process has them open.
const shortly = 5 * time.Millisecond

// endInput ends a write to the command that waits for its reader.
func (r *commandRun) endInput() {
	if r.c.HasTerminal() {
		_ = r.stdout.SetWriteDeadline(time.Unix(1, 0))
		return
	}
	_ = r.c.Stdin().Close()
}

func (r *commandRun) hasEnded() bool {
	select {
	case <-r.c.Ended():
		return true
	default:
		return false
	}
}
