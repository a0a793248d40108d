package e2b

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
)

// attach answers with what a process does from now on.
func (d *Dialect) attach(ctx context.Context, t target, r *selectRequest, to *connect.ServerStream[processEvent]) error {
	j, err := d.find(ctx, t, r.Process)
	if connect.CodeOf(err) == connect.CodeNotFound && r.Process.PID != nil {
		return d.attachEnded(ctx, t, d.pids.last(t.session, *r.Process.PID), to)
	}
	if err != nil {
		return err
	}
	of, err := d.service.AttachCommand(ctx, t.caller, t.session, j.ID)
	if errors.Is(err, job.ErrCommandEnded) {
		return d.attachEnded(ctx, t, j.ID, to)
	}
	if err != nil {
		return err
	}
	defer of.Close()
	noted, _ := keptOf(j)
	return d.show(ctx, t, of, noted.PTY, to)
}

// remembered is how long a process that has ended is there for clients that connect to it.
const remembered = 30 * time.Second

// attachEnded answers with the end of a process, if it has ended a short time ago.
func (d *Dialect) attachEnded(ctx context.Context, t target, command string, to *connect.ServerStream[processEvent]) error {
	pid := d.pids.of(t.session, command)
	if command == "" || pid == 0 {
		return noProcess()
	}
	j, err := d.service.Command(ctx, t.caller, t.session, command, 0)
	switch {
	case errors.Is(err, job.ErrNotFound), errors.Is(err, job.ErrGone), err == nil && !isRemembered(j, time.Now()):
		return noProcess()
	case err != nil:
		return err
	}
	var start, end processEvent
	start.Event.Start, end.Event.End = &startEvent{pid}, endOf(j)
	if err = to.Send(&start); err != nil {
		return err
	}
	return to.Send(&end)
}

// isRemembered reports whether a command has ended a short time ago. One that a fault of Kaa has ended has no end to tell.
func isRemembered(j job.Job, now time.Time) bool {
	return (j.State == job.Completed && j.Result != nil || j.State == job.Cancelled) && now.Sub(j.FinishedAt) <= remembered
}

func noProcess() error {
	return connect.NewError(connect.CodeNotFound, errors.New("process not found"))
}

func (d *Dialect) listProcesses(ctx context.Context, t target, _ *empty) (*processes, error) {
	if err := d.checkLive(ctx, t); err != nil {
		return nil, err
	}
	all, err := d.service.Commands(ctx, t.caller, t.session)
	if err != nil {
		return nil, err
	}
	answer := &processes{Processes: []processInfo{}}
	for _, j := range all {
		noted, ours := keptOf(j)
		if !ours {
			continue
		}
		pid, err := d.pidOf(ctx, t, j)
		if err != nil {
			return nil, err
		}
		if pid != 0 {
			answer.Processes = append(answer.Processes, processInfo{Config: noted.Config, PID: pid, Tag: noted.Tag})
		}
	}
	return answer, nil
}

// checkLive checks that a sandbox runs. One that resumes by itself does.
func (d *Dialect) checkLive(ctx context.Context, t target) error {
	err := d.service.CheckLive(ctx, t.caller, t.session)
	if !errors.Is(err, job.ErrSessionPaused) {
		return err
	}
	if se, sessionErr := d.service.Session(ctx, t.caller, t.session); sessionErr != nil || !se.AutoResume {
		return err
	}
	_, err = d.service.ResumeSession(ctx, t.caller, t.session)
	return err
}

// find returns the command that is a process of a sandbox.
func (d *Dialect) find(ctx context.Context, t target, s selector) (job.Job, error) {
	if err := d.checkLive(ctx, t); err != nil {
		return job.Job{}, err
	}
	all, err := d.service.Commands(ctx, t.caller, t.session)
	if err != nil {
		return job.Job{}, err
	}
	for _, j := range all {
		if s.Tag != nil {
			if noted, ok := keptOf(j); ok && noted.Tag != nil && *noted.Tag == *s.Tag {
				return j, nil
			}
			continue
		}
		pid, err := d.pidOf(ctx, t, j)
		if err != nil {
			return job.Job{}, err
		}
		if s.PID != nil && pid != 0 && pid == *s.PID {
			return j, nil
		}
	}
	return job.Job{}, noProcess()
}

// pidOf returns the process id of a command: what its record has, what this process has noted, or what the runner says to one that attaches. It is 0
// if the command has not begun or has ended.
func (d *Dialect) pidOf(ctx context.Context, t target, j job.Job) (int, error) {
	if j.PID != 0 {
		return j.PID, nil
	}
	command := j.ID
	if pid := d.pids.of(t.session, command); pid != 0 {
		return pid, nil
	}
	pid, err := dialect.PIDOf(ctx, d.service, t.caller, t.session, command)
	if pid != 0 {
		d.pids.note(t.session, pid, command)
	}
	return pid, err
}

// tell sends a message to a process.
func (d *Dialect) tell(ctx context.Context, t target, s selector, m job.CommandMessage) error {
	j, err := d.find(ctx, t, s)
	if err != nil {
		return err
	}
	return d.tellCommand(ctx, t, j.ID, m)
}

// fullPause is how long input waits for which a process has no room.
const fullPause = 20 * time.Millisecond

func (d *Dialect) tellCommand(ctx context.Context, t target, id string, m job.CommandMessage) error {
	for {
		err := d.service.TellCommand(ctx, t.caller, t.session, id, m)
		switch {
		case errors.Is(err, job.ErrCommandEnded), errors.Is(err, job.ErrNotFound):
			return noProcess()
		case !errors.Is(err, job.ErrInputFull):
			return err
		}
		select {
		case <-time.After(fullPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// write sends input in pieces that a message may have.
func (d *Dialect) write(ctx context.Context, t target, id string, in input) error {
	data := in.Stdin
	if data == nil {
		data = in.PTY
	}
	for len(data) > 0 {
		n := min(len(data), job.MaxCommandInput)
		if err := d.tellCommand(ctx, t, id, job.CommandMessage{Data: data[:n]}); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

func (d *Dialect) sendInput(ctx context.Context, t target, r *inputRequest) (*empty, error) {
	j, err := d.find(ctx, t, r.Process)
	if err != nil {
		return nil, err
	}
	return &empty{}, d.write(ctx, t, j.ID, r.Input)
}

func (d *Dialect) streamInput(ctx context.Context, t target, from *connect.ClientStream[streamInput]) error {
	id := ""
	for from.Receive() {
		m := from.Msg()
		switch {
		case m.Start != nil:
			j, err := d.find(ctx, t, m.Start.Process)
			if err != nil {
				return err
			}
			id = j.ID
		case m.Data != nil && id == "":
			return connect.NewError(connect.CodeInvalidArgument, errors.New("the first message must be start"))
		case m.Data != nil:
			if err := d.write(ctx, t, id, m.Data.Input); err != nil {
				return err
			}
		}
	}
	return from.Err()
}

func (d *Dialect) closeStdin(ctx context.Context, t target, r *selectRequest) (*empty, error) {
	err := d.tell(ctx, t, r.Process, job.CommandMessage{EOF: true})
	if errors.Is(err, job.ErrInputEnded) {
		err = nil
	}
	return &empty{}, err
}

// killWait is how long a call waits for the end of what it kills. Only a busy machine takes long. The SDKs wait for a minute.
const killWait = 30 * time.Second

// signal is what a process may get.
type signal string

const (
	sigTerm signal = "SIGNAL_SIGTERM"
	sigKill signal = "SIGNAL_SIGKILL"
)

func (signal) numbers() map[string]protowire.Number {
	return map[string]protowire.Number{string(sigKill): 9, string(sigTerm): 15}
}

// sendSignal kills a process with all that it has started, or sends it a signal.
func (d *Dialect) sendSignal(ctx context.Context, t target, r *signalRequest) (*empty, error) {
	j, err := d.find(ctx, t, r.Process)
	if err != nil {
		return nil, err
	}
	switch r.Signal {
	case sigTerm, "15":
		return &empty{}, d.tellCommand(ctx, t, j.ID, job.CommandMessage{Signal: "TERM"})
	case sigKill, "9":
	default:
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("no such signal: %s", clipped(string(r.Signal))))
	}
	if err := d.tellCommand(ctx, t, j.ID, job.CommandMessage{Signal: "KILL"}); err != nil {
		return nil, err
	}
	_, err = d.service.Command(ctx, t.caller, t.session, j.ID, killWait)
	if errors.Is(err, job.ErrNotFound) || errors.Is(err, job.ErrGone) {
		err = nil
	}
	return &empty{}, err
}

func (d *Dialect) update(ctx context.Context, t target, r *updateRequest) (*empty, error) {
	if r.PTY == nil || r.PTY.Size == nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("pty.size is missing"))
	}
	return &empty{}, d.tell(ctx, t, r.Process, job.CommandMessage{Size: terminal(r.PTY)})
}
