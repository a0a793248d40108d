package interpreter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/process"
	"github.com/kaa-run/kaa/internal/sandbox"
)

const (
	// maxCommandText is the size of the largest arguments and variables of a command together.
	maxCommandText = 2 << 20
	// inlineText is the size up to which they are sent in the request, and not in a file.
	inlineText = 32 << 10
)

// Command is a program that runs in a session's sandbox beside its interpreter. Its methods are safe for
// concurrent use. The caller must call Close or Release.
type Command struct {
	of       *commands
	id, pid  int
	streams  *process.Streams
	began    time.Time
	oomKills int64 // of the sandbox before it

	answer chan process.Message // of the start
	ended  chan struct{}        // closed once its first process has ended
	killed chan struct{}        // closed once none of its processes is left
	end    job.CommandEnd       // valid after ended
	lost   bool                 // the end is not known; valid after ended

	signalling sync.Mutex
	signalled  chan process.Message

	closeOnce sync.Once
	closeErr  error
}

// Start starts a command. It does not wait for executions, nor do they wait for it. An error that is a
// *job.CommandError says what about the command kept it from starting.
func (s *Session) Start(ctx context.Context, spec job.Command) (*Command, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	text, request, err := s.commandTexts(spec)
	if err != nil {
		return nil, err
	}
	defer s.pausing.ask()()
	of, err := s.beginCommands()
	if err != nil {
		return nil, fmt.Errorf("start command on %s: %w", s.w.id, err)
	}
	c := &Command{
		of: of, answer: make(chan process.Message, 1), ended: make(chan struct{}), killed: make(chan struct{}),
		signalled: make(chan process.Message, 1), began: time.Now(), oomKills: s.w.slot.group.OOMKills(),
	}
	if c.streams, err = s.openStreams(spec.Terminal); err != nil {
		return nil, fmt.Errorf("start command on %s: %w", s.w.id, err)
	}
	err = c.start(text, request)
	c.streams.CloseTheirs()
	if err == nil {
		err = c.awaitStart(spec)
	}
	if err != nil {
		_, refused := errors.AsType[*job.CommandError](err)
		err = errors.Join(err, c.streams.Close())
		if refused {
			return nil, err
		}
		return nil, fmt.Errorf("start command on %s: %w", s.w.id, err)
	}
	return c, nil
}

// commandRequest is a message to the process that starts commands: see commands.py.
type commandRequest struct {
	Cmd      string           `json:"cmd"`
	ID       int              `json:"id"`
	Argc     int              `json:"argc,omitempty"`
	Line     bool             `json:"line,omitempty"`
	Limits   map[string]int64 `json:"limits,omitempty"`
	Most     int              `json:"most,omitempty"` // commands at once
	Terminal *[2]uint16       `json:"terminal,omitempty"`
	Signal   int              `json:"signal,omitempty"`
	Family   int              `json:"family,omitempty"`
}

// commandTexts returns the texts of a command in the order of the protocol, each with a zero after it, and the rest of the request.
func (s *Session) commandTexts(spec job.Command) ([]byte, commandRequest, error) {
	r := commandRequest{Cmd: "start", Limits: s.limits(), Most: s.quota.Processes}
	argv := spec.Argv
	if len(argv) == 0 {
		argv, r.Line = []string{spec.Line}, true
	}
	if spec.Terminal != nil {
		r.Terminal = &[2]uint16{spec.Terminal.Columns, spec.Terminal.Rows}
	}
	r.Argc = len(argv)
	texts := slices.Clone(argv)
	for _, envs := range []map[string]string{s.envs, spec.Envs} { // the later ones hold
		for _, name := range slices.Sorted(maps.Keys(envs)) {
			texts = append(texts, name+"="+envs[name])
		}
	}
	texts = append(texts, spec.Cwd, s.home())
	var all []byte
	for _, text := range texts {
		if strings.ContainsRune(text, 0) {
			return nil, r, &job.CommandError{Part: job.CommandProgram, Errno: syscall.EINVAL, Name: argv[0]}
		}
		if all = append(append(all, text...), 0); len(all) > maxCommandText {
			return nil, r, &job.CommandError{Part: job.CommandProgram, Errno: syscall.E2BIG, Name: argv[0]}
		}
	}
	return all, r, nil
}

// home returns the session's working directory, as the code sees it.
func (s *Session) home() string { return s.w.home() }

func (w *Worker) home() string {
	switch f := w.forkGroup(); {
	case w.place != "":
		return w.place
	case f != nil:
		return f.place(w.dirName)
	case w.dirs.Top != "":
		return w.dirs.Work
	}
	return "/work"
}

// openStreams makes the streams of a command. Where there is a mount namespace the terminal is made in
// it.
func (s *Session) openStreams(size *job.TerminalSize) (*process.Streams, error) {
	owner := s.w.pool.owners.HostID(s.w.slot.owner)
	switch {
	case size == nil:
		return process.OpenPipes(owner)
	case s.w.pool.cfg.Sandbox == sandbox.Strict:
		return &process.Streams{}, nil
	}
	return process.OpenTerminal(owner, size.Columns, size.Rows)
}

// start sends the request, with all texts, each with a zero after it.
func (c *Command) start(text []byte, r commandRequest) (err error) {
	fds := c.streams.Theirs
	if len(text) > inlineText {
		file, err := process.TextFile(text)
		if err != nil {
			return err
		}
		defer file.Close()
		text, fds = nil, append([]int{int(file.Fd())}, fds...)
	}
	if r.ID, err = c.of.add(c); err != nil {
		return err
	}
	c.id = r.ID
	if err := c.of.sendText(r, text, fds...); err != nil {
		c.of.remove(c.id)
		return err
	}
	return nil
}

// awaitStart waits for the answer to start.
func (c *Command) awaitStart(spec job.Command) error {
	var m process.Message
	select {
	case m = <-c.answer:
	case <-c.of.gone:
		select {
		case m = <-c.answer:
		default:
			return ErrClosed
		}
	case <-time.After(c.of.s.Load().w.pool.cfg.StartTimeout):
		c.of.abandon()
		return fmt.Errorf("await command: %w", context.DeadlineExceeded)
	}
	if m.Type == "refused" {
		c.of.remove(c.id)
		return refusal(m, spec)
	}
	c.pid = m.PID
	if m.File != nil {
		if err := c.streams.UseTerminal(m.File); err != nil {
			return errors.Join(err, c.of.send(commandRequest{Cmd: "kill", ID: c.id}))
		}
	}
	return nil
}

// refusal returns the error of a command that was not started.
func refusal(m process.Message, spec job.Command) error {
	const setup, directory, program = 0, 1, 2 // of command_program.py
	e := &job.CommandError{Errno: syscall.Errno(m.Errno)}
	switch m.Phase {
	case directory:
		e.Part, e.Name = job.CommandDirectory, spec.Cwd
		return e
	case program:
		e.Part = job.CommandProgram
		if len(spec.Argv) > 0 {
			e.Name = spec.Argv[0]
		}
		if e.Errno != syscall.EAGAIN && e.Errno != syscall.ENOMEM {
			return e
		}
	case setup:
	}
	e.Part = job.CommandPlace
	if slices.Contains([]syscall.Errno{syscall.EAGAIN, syscall.ENOMEM, syscall.ENOSPC, syscall.EMFILE, syscall.ENFILE, syscall.EIO}, e.Errno) {
		return e
	}
	return fmt.Errorf("start command: %w", e.Errno)
}

// PID returns the process id, as the code sees it.
func (c *Command) PID() int { return c.pid }

// Stdin is the command's standard input, or its terminal. Write waits until the command has read enough.
// For a terminal, Close sends Control-D, which ends the input only if the program agrees.
func (c *Command) Stdin() io.WriteCloser { return c.streams.Stdin }

// Stdout is the command's standard output, or its terminal. A command whose output is not read waits.
func (c *Command) Stdout() io.Reader { return c.streams.Stdout }

// Stderr is the command's standard error; nil with a terminal.
func (c *Command) Stderr() io.Reader { return c.streams.Stderr }

// HasTerminal reports whether the command has a terminal.
func (c *Command) HasTerminal() bool { return c.streams.HasTerminal() }

// Resize sets the size of the command's terminal.
func (c *Command) Resize(size job.TerminalSize) error {
	if !c.streams.HasTerminal() {
		return job.ErrNoTerminal
	}
	return c.streams.Resize(size.Columns, size.Rows)
}

// Signal sends a signal, by its name with or without SIG, to the command's process group. It returns
// job.ErrCommandEnded if the first process has ended. In a paused session it waits for the end of the pause.
func (c *Command) Signal(name string) error {
	number := signalNumber(name)
	if number == 0 {
		return fmt.Errorf("signal %q: %w", name, job.ErrInvalid)
	}
	c.signalling.Lock()
	defer c.signalling.Unlock()
	defer c.of.s.Load().pausing.ask()()
	if err := c.of.send(commandRequest{Cmd: "signal", ID: c.id, Signal: number}); err != nil {
		return job.ErrCommandEnded
	}
	select {
	case m := <-c.signalled:
		errno := syscall.Errno(m.Errno)
		if errno == syscall.ESRCH {
			return job.ErrCommandEnded
		}
		if errno != 0 {
			return fmt.Errorf("signal %s: %w", name, errno)
		}
		return nil
	case <-c.of.gone:
		return job.ErrCommandEnded
	case <-time.After(killTime):
		c.of.abandon()
		return fmt.Errorf("signal %s: %w", name, context.DeadlineExceeded)
	}
}

// signalNumber returns the number of a signal's name; 0 if there is no such signal.
func signalNumber(name string) int {
	const firstRealTime, lastRealTime = 34, 64 // as programs see them, with glibc
	name = strings.TrimPrefix(strings.ToUpper(name), "SIG")
	for prefix, sign := range map[string]int{"RTMIN": firstRealTime, "RTMAX": lastRealTime} {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			n, err := strconv.Atoi(rest)
			if number := sign + n; (rest == "" || err == nil) && number >= firstRealTime && number <= lastRealTime {
				return number
			}
			return 0
		}
	}
	return int(unix.SignalNum("SIG" + name))
}

// signalName returns the name of a signal without SIG.
func signalName(s syscall.Signal) string {
	const firstRealTime = 34
	if name := unix.SignalName(s); name != "" {
		return strings.TrimPrefix(name, "SIG")
	}
	return fmt.Sprintf("RTMIN+%d", int(s)-firstRealTime)
}

// Ended is closed once the command's first process has ended.
func (c *Command) Ended() <-chan struct{} { return c.ended }

// Wait waits until the command's first process has ended. Others may go on, and have its output open.
func (c *Command) Wait(ctx context.Context) (job.CommandEnd, error) {
	select {
	case <-c.ended:
	case <-ctx.Done():
		return job.CommandEnd{}, ctx.Err()
	}
	if c.lost {
		return job.CommandEnd{}, fmt.Errorf("await command: %w", ErrClosed)
	}
	return c.end, nil
}

// Kill ends all processes that the command has started, and returns when none is left. In a paused session it waits for the
// end of the pause.
func (c *Command) Kill() error {
	select {
	case <-c.killed:
		return nil
	default:
	}
	defer c.of.s.Load().pausing.ask()()
	if err := c.of.send(commandRequest{Cmd: "kill", ID: c.id}); err != nil {
		select {
		case <-c.of.gone:
			return nil
		case <-time.After(killTime):
			c.of.abandon()
			return fmt.Errorf("kill command: %w", err)
		}
	}
	select {
	case <-c.killed:
		return nil
	case <-time.After(killTime):
		c.of.abandon()
		return fmt.Errorf("kill command: %w", context.DeadlineExceeded)
	}
}

// Close ends all processes that the command has started, and closes its streams. Further calls do
// nothing.
func (c *Command) Close() error {
	return c.finish(c.Kill)
}

// Release closes the command's streams. Processes that it has started go on until the session's end. Of a
// terminal they lose the terminal, as when a person closes its window.
func (c *Command) Release() error {
	return c.finish(func() error {
		_ = c.of.send(commandRequest{Cmd: "forget", ID: c.id}) // else all its processes have ended
		return nil
	})
}

func (c *Command) finish(end func() error) error {
	c.closeOnce.Do(func() {
		c.closeErr = errors.Join(end(), c.streams.Close())
		c.of.remove(c.id)
	})
	return c.closeErr
}

// over records the end of the first process.
func (c *Command) over(m process.Message) {
	status := syscall.WaitStatus(m.Status) //nolint:gosec // it is one
	c.end = job.CommandEnd{
		ExitCode: status.ExitStatus(), CPU: time.Duration(m.CPUMicros) * time.Microsecond, MaxRSS: m.MaxRSSKB * 1024, Duration: time.Since(c.began),
	}
	if status.Signaled() {
		c.end.Signal = signalName(status.Signal())
		c.end.OutOfMemory = status.Signal() == syscall.SIGKILL && c.of.s.Load().w.slot.group.OOMKills() > c.oomKills
	}
	close(c.ended)
}
