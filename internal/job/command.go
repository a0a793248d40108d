package job

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// Command is a program that runs in a sandbox beside its interpreter. Either Line or Argv is set. The store
// keeps it as JSON, in a Spec.
type Command struct {
	Line string   `json:"line,omitempty"` // for a shell: bash where there is one, else sh
	Argv []string `json:"argv,omitempty"` // the program, as a path or a name to look up, and its arguments
	// Cwd is its working directory; a relative path begins at the sandbox's own. Empty means that
	// one.
	Cwd string `json:"cwd,omitempty"`
	// Envs are variables beside the session's, which they replace. A Spec has them itself.
	Envs map[string]string `json:"envs,omitempty"`
	// Terminal is the size of its terminal. Nil means pipes.
	Terminal *TerminalSize `json:"terminal,omitempty"`
	// Input: callers will give it input, so that it has no end without them. For commands of sessions.
	Input bool `json:"input,omitempty"`
	// Background: its caller waits for its process id, and not for its end. For commands of sessions.
	Background bool `json:"background,omitempty"`
	// Attach is a follower that gets all its output as bytes from the beginning. For commands of sessions.
	Attach string `json:"attach,omitempty"`
	// Port: the runner connects with this port of the sandbox instead of starting the program, where it can. For commands of sessions with Input
	// and Attach.
	Port *PortOf `json:"port,omitempty"`
}

// PortOf is a connection with a port of a sandbox: its input and its standard output are the connection's. On standard error it says PortReached once it
// is connected, and else the reason.
type PortOf struct {
	Number int `json:"number"`
	// Silence is how long it may carry no byte.
	Silence time.Duration `json:"silence"`
}

// PortReached says that a connection with a port is there.
const PortReached = '+'

// TerminalSize is the size of a terminal in characters.
type TerminalSize struct {
	Columns uint16 `json:"columns"`
	Rows    uint16 `json:"rows"`
}

// CommandEnd is the end of a command's first process.
type CommandEnd struct {
	ExitCode int    // -1 if a signal ended it
	Signal   string // the signal's name without SIG; empty if it exited
	CPU      time.Duration
	MaxRSS   int64 // bytes, of the largest process
	Duration time.Duration
	// OutOfMemory: the kernel has ended it, because the session's processes needed more memory than
	// their limit.
	OutOfMemory bool
}

// OutputSoFar is the beginning and the end of the output of a running command.
type OutputSoFar struct {
	Stdout  string `json:"stdout" doc:"With a terminal, all its output."`
	Stderr  string `json:"stderr"`
	Omitted int64  `json:"omittedBytes,omitempty" doc:"Bytes of both streams that are left out, in the middle, where a line says so."`
}

// CommandPart is the part of a command that kept it from starting.
type CommandPart string

// The parts of a command.
const (
	CommandProgram   CommandPart = "program"   // no such file, no right to execute it, arguments too long
	CommandDirectory CommandPart = "directory" // no such directory, no right to enter it
	CommandPlace     CommandPart = "place"     // no room for another process or terminal
)

// CommandError is the reason why a command was not started. It is not a failure of Kaa.
type CommandError struct {
	Part  CommandPart
	Errno syscall.Errno
	Name  string // of the program or directory
}

func (e *CommandError) Error() string {
	switch e.Part {
	case CommandProgram:
		return fmt.Sprintf("start %q: %s", e.Name, e.Errno.Error())
	case CommandDirectory:
		return fmt.Sprintf("enter directory %q: %s", e.Name, e.Errno.Error())
	case CommandPlace:
	}
	return "make another process: " + e.Errno.Error()
}

func (e *CommandError) Unwrap() error { return e.Errno }

// ErrCommandEnded means that the command has ended and takes neither input nor signals.
var ErrCommandEnded = errors.New("the command has ended")

// ErrNoTerminal means that the command has pipes and no terminal, so it has no size.
var ErrNoTerminal = errors.New("the command has no terminal")

// ErrInputEnded means that a command's input has been ended before.
var ErrInputEnded = errors.New("the input of the command has ended")

// ErrInputFull means that the command has not read as much input as may wait for it.
var ErrInputFull = errors.New("too much input waits for the command")

// Bounds of the messages to a command.
const (
	MaxCommandInput   = 256 << 10 // bytes in one message
	MaxCommandWaiting = 1 << 20   // bytes that wait for a command
	// CommandMessageCost is what a message counts beside its bytes.
	CommandMessageCost = 64
)

// CommandMessage is what a caller sends to a running command of a session. One of its fields is set.
type CommandMessage struct {
	Data   []byte        `json:"data,omitempty"`
	EOF    bool          `json:"eof,omitempty"` // the end of its input
	Signal string        `json:"signal,omitempty"`
	Size   *TerminalSize `json:"size,omitempty"`
	Attach string        `json:"attach,omitempty"` // a follower that is to get all output as bytes from now on
}

// IsInput reports whether the message has its place in the order of the command's input.
func (m CommandMessage) IsInput() bool { return len(m.Data) > 0 || m.EOF }

// StoredMessage is a message with its place in the order of those to its command.
type StoredMessage struct {
	ID string
	CommandMessage
}

// CommandMessages brings a running command the messages of callers. Both channels stay open.
type CommandMessages struct {
	// Input has the messages of the input, in their order. Taken is called for each once the command has it.
	Input <-chan StoredMessage
	Taken func(StoredMessage)
	// Control has the others.
	Control <-chan StoredMessage
}
