package e2b

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// The messages of process.Process.
type (
	processConfig struct {
		Cmd  string            `json:"cmd" pb:"1"`
		Args []string          `json:"args,omitempty" pb:"2"`
		Envs map[string]string `json:"envs,omitempty" pb:"3"`
		Cwd  *string           `json:"cwd,omitempty" pb:"4"`
	}
	ptySize struct {
		Cols uint16 `json:"cols" pb:"1"`
		Rows uint16 `json:"rows" pb:"2"`
	}
	pty struct {
		Size *ptySize `json:"size" pb:"1"`
	}
	selector struct {
		PID *int    `json:"pid,omitempty" pb:"1"`
		Tag *string `json:"tag,omitempty" pb:"2"`
	}
	startRequest struct {
		Process processConfig `json:"process" pb:"1"`
		PTY     *pty          `json:"pty" pb:"2"`
		Tag     *string       `json:"tag" pb:"3"`
		Stdin   *bool         `json:"stdin" pb:"4"`
	}
	selectRequest struct {
		Process selector `json:"process" pb:"1"`
	}
	signalRequest struct {
		Process selector `json:"process" pb:"1"`
		Signal  signal   `json:"signal" pb:"2"`
	}
	updateRequest struct {
		Process selector `json:"process" pb:"1"`
		PTY     *pty     `json:"pty" pb:"2"`
	}
	input struct {
		Stdin []byte `json:"stdin" pb:"1"`
		PTY   []byte `json:"pty" pb:"2"`
	}
	inputRequest struct {
		Process selector `json:"process" pb:"1"`
		Input   input    `json:"input" pb:"2"`
	}
	streamInput struct {
		Start *selectRequest `json:"start" pb:"1"`
		Data  *struct {
			Input input `json:"input" pb:"2"`
		} `json:"data" pb:"2"`
	}
	empty       struct{}
	processInfo struct {
		Config processConfig `json:"config" pb:"1"`
		PID    int           `json:"pid" pb:"2"`
		Tag    *string       `json:"tag,omitempty" pb:"3"`
	}
	processes struct {
		Processes []processInfo `json:"processes" pb:"1"`
	}
	processEvent struct {
		Event struct {
			Start     *startEvent `json:"start,omitempty" pb:"1"`
			Data      *dataEvent  `json:"data,omitempty" pb:"2"`
			End       *endEvent   `json:"end,omitempty" pb:"3"`
			KeepAlive *empty      `json:"keepalive,omitempty" pb:"4"`
		} `json:"event" pb:"1"`
	}
	startEvent struct {
		PID int `json:"pid" pb:"1"`
	}
	dataEvent struct {
		Stdout []byte `json:"stdout,omitempty" pb:"1"`
		Stderr []byte `json:"stderr,omitempty" pb:"2"`
		PTY    []byte `json:"pty,omitempty" pb:"3"`
	}
	endEvent struct {
		ExitCode int     `json:"exitCode" pb:"1,zigzag"`
		Exited   bool    `json:"exited" pb:"2"`
		Status   string  `json:"status" pb:"3"`
		Error    *string `json:"error,omitempty" pb:"4"`
	}
)

func (d *Dialect) process(options []connect.HandlerOption) {
	streaming(d, processPath+"Start", "startProcess", options, d.start)
	streaming(d, processPath+"Connect", "connectProcess", options, d.attach)
	unary(d, processPath+"List", "listProcesses", options, d.listProcesses)
	unary(d, processPath+"SendInput", "sendProcessInput", options, d.sendInput)
	unary(d, processPath+"CloseStdin", "closeProcessInput", options, d.closeStdin)
	unary(d, processPath+"SendSignal", "signalProcess", options, d.sendSignal)
	unary(d, processPath+"Update", "resizeProcess", options, d.update)
	const path = processPath + "StreamInput"
	d.rpc(path, "streamProcessInput", connect.NewClientStreamHandlerSimple(path, func(ctx context.Context, from *connect.ClientStream[streamInput]) (*empty, error) {
		if err := d.streamInput(ctx, targetOf(ctx), from); err != nil {
			return nil, d.rpcError(ctx, err)
		}
		return &empty{}, nil
	}, options...))
}

// kept is what the record of a command keeps for its process.
type kept struct {
	Config processConfig `json:"config"`
	Tag    *string       `json:"tag,omitempty"`
	PTY    bool          `json:"pty,omitempty"`
}

const keptName = "e2b"

func keptOf(j job.Job) (k kept, ok bool) {
	var all map[string]json.RawMessage
	if json.Unmarshal(j.Metadata, &all) != nil || all[keptName] == nil {
		return k, false
	}
	return k, json.Unmarshal(all[keptName], &k) == nil
}

// start starts a process and answers with what it does. It goes on if the client goes away.
func (d *Dialect) start(ctx context.Context, t target, r *startRequest, to *connect.ServerStream[processEvent]) error {
	if r.Process.Cmd == "" {
		return connect.NewError(connect.CodeInvalidArgument, errors.New("process.cmd is empty"))
	}
	// The environment may be secret, and is not kept.
	noted := kept{Config: processConfig{Cmd: r.Process.Cmd, Args: r.Process.Args, Cwd: r.Process.Cwd}, Tag: r.Tag, PTY: r.PTY != nil}
	metadata, err := json.Marshal(map[string]kept{keptName: noted})
	if err != nil {
		return fmt.Errorf("encode process: %w", err)
	}
	if len(metadata) > d.service.Limits().MaxMetadataBytes {
		metadata, _ = json.Marshal(map[string]kept{keptName: {Config: processConfig{Cmd: r.Process.Cmd}, Tag: r.Tag, PTY: r.PTY != nil}})
	}
	envs, err := d.processEnvs(ctx, t, r.Process.Envs)
	if err != nil {
		return err
	}
	request := job.Request{
		SessionID: t.session, Program: append([]string{r.Process.Cmd}, r.Process.Args...), Envs: envs, Metadata: metadata,
		Timeout: d.lifeOf(ctx),
	}
	if r.Process.Cwd != nil && *r.Process.Cwd != "" {
		request.Cwd = string(placed(absolute(*r.Process.Cwd)))
	}
	if r.PTY != nil {
		request.Terminal = terminal(r.PTY)
	}
	attached, err := d.service.StartAttached(ctx, t.caller, service.Submission{Request: request})
	if err != nil {
		return err
	}
	defer attached.Close()
	if r.Stdin != nil && !*r.Stdin && r.PTY == nil {
		if err := attached.Send(ctx, job.CommandMessage{EOF: true}); err != nil && !errors.Is(err, job.ErrCommandEnded) {
			return err
		}
	}
	return d.show(ctx, t, attached, noted.PTY, to)
}

func (d *Dialect) processEnvs(ctx context.Context, t target, theirs map[string]string) (map[string]string, error) {
	given, err := d.withEnvs(ctx, t, theirs)
	if err != nil {
		return nil, err
	}
	all := make(map[string]string, len(given)+1)
	all["E2B_SANDBOX_ID"] = sandboxID(t.session)
	maps.Copy(all, given)
	return all, nil
}

// lifeOf is how long a process may live, in seconds: the time that the client gives its call.
func (d *Dialect) lifeOf(ctx context.Context) *float64 {
	deadline, ok := ctx.Deadline()
	if !ok {
		return nil
	}
	limits := d.service.Limits()
	life := min(max(time.Until(deadline), time.Millisecond), max(limits.MaxTimeout, limits.Sessions.MaxAge)).Seconds()
	return &life
}

func terminal(p *pty) *job.TerminalSize {
	size := job.TerminalSize{Columns: 80, Rows: 24}
	if p.Size != nil && p.Size.Cols > 0 && p.Size.Rows > 0 {
		size = job.TerminalSize{Columns: p.Size.Cols, Rows: p.Size.Rows}
	}
	return &size
}

// mostPiece is how many bytes of output one event has.
const mostPiece = 32 << 10

// show sends the events of a process until its end.
func (d *Dialect) show(ctx context.Context, t target, of *service.Attached, isPTY bool, to *connect.ServerStream[processEvent]) error {
	quiet := keepAlive(requestHeader(to))
	begun := false
	for {
		within, cancel := context.WithTimeout(ctx, quiet)
		o, err := of.Next(within)
		cancel()
		switch {
		case errors.Is(err, service.ErrOver):
			if pid := d.pids.of(t.session, of.ID()); !begun && pid != 0 { // it has ended while the client connected to it
				begun = true
				var e processEvent
				e.Event.Start = &startEvent{pid}
				if err := to.Send(&e); err != nil {
					return err
				}
			}
			return d.showEnd(ctx, of, begun, to)
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
			var e processEvent
			e.Event.KeepAlive = &empty{}
			err = to.Send(&e)
		case err != nil && begun && (isAway(err) || ctx.Err() == nil):
			return errBroken
		case err != nil:
			return err
		case o.Kind == job.OutputMark:
			begun = true
			d.pids.note(t.session, of.PID(), of.ID())
			var e processEvent
			e.Event.Start = &startEvent{of.PID()}
			err = to.Send(&e)
		default:
			err = showOutput(o, isPTY, to)
		}
		if err != nil {
			return err
		}
	}
}

// requestHeader returns the header of the request of a stream.
func requestHeader(to *connect.ServerStream[processEvent]) http.Header {
	return to.Conn().RequestHeader()
}

func showOutput(o job.CommandOutput, isPTY bool, to *connect.ServerStream[processEvent]) error {
	for data := o.Data; len(data) > 0; {
		n := min(len(data), mostPiece)
		piece := &dataEvent{}
		switch {
		case isPTY:
			piece.PTY = data[:n]
		case o.Kind == job.OutputStderr:
			piece.Stderr = data[:n]
		default:
			piece.Stdout = data[:n]
		}
		var e processEvent
		e.Event.Data = piece
		if err := to.Send(&e); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// showEnd sends how a process has ended. One that was not started is an error.
func (d *Dialect) showEnd(ctx context.Context, of *service.Attached, begun bool, to *connect.ServerStream[processEvent]) error {
	j, err := of.Ended(ctx)
	if err != nil {
		if begun {
			return errBroken
		}
		return err
	}
	if j.Result == nil && j.State != job.Cancelled {
		if begun {
			return errBroken
		}
		return &service.EndError{Job: j}
	}
	if !begun {
		if j.Result != nil && j.Result.Error != nil {
			code := connect.CodeInvalidArgument
			if j.Result.ExitCode != nil && *j.Result.ExitCode == exitNoProgram {
				code = connect.CodeNotFound
			}
			return connect.NewError(code, errors.New(j.Result.Error.Value))
		}
		return connect.NewError(connect.CodeCanceled, errors.New("the process was ended before it had started"))
	}
	var e processEvent
	e.Event.End = endOf(j)
	return to.Send(&e)
}

// exitNoProgram is the exit code of a command whose program there is not.
const exitNoProgram = 127

// endOf translates the end of a command.
func endOf(j job.Job) *endEvent {
	r := j.Result
	switch {
	case r == nil, r.Status == job.StatusInterrupted:
		return bySignal("killed")
	case r.Signal != "":
		return bySignal(signalWord(r.Signal))
	}
	code := 0
	if r.ExitCode != nil {
		code = *r.ExitCode
	}
	e := &endEvent{ExitCode: code, Exited: true, Status: fmt.Sprintf("exit status %d", code)}
	if code != 0 {
		e.Error = &e.Status
	}
	return e
}

func bySignal(word string) *endEvent {
	e := &endEvent{ExitCode: -1, Status: "signal: " + word}
	e.Error = &e.Status
	return e
}

// signalWord is what Go calls a signal.
func signalWord(name string) string {
	name = strings.TrimPrefix(name, "SIG")
	if word, ok := map[string]string{"KILL": "killed", "TERM": "terminated", "INT": "interrupt", "HUP": "hangup", "SEGV": "segmentation fault", "ABRT": "aborted", "PIPE": "broken pipe"}[name]; ok {
		return word
	}
	return strings.ToLower(name)
}
