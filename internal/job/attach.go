package job

import "time"

// An attached follower of a command gets all that the command writes as bytes, from a moment on. A command waits
// until its followers have taken what it wrote.
const (
	// OutputWindow is how many bytes may wait for the slowest follower of a command.
	OutputWindow = 256 << 10
	// AttachCost is what an attached command counts: the window, and the last writes of a pipe that may be beyond it.
	AttachCost = OutputWindow + 128<<10
	// AttachLease is how long a command waits for a follower that does not say that it is there.
	AttachLease = time.Minute
)

// The kinds of CommandOutput.
const (
	OutputStdout = "stdout" // also that of a terminal
	OutputStderr = "stderr"
	// OutputMark: a follower gets all that comes after this. Data has its name and the process id of the command.
	OutputMark = "mark"
	// OutputEnd: nothing follows.
	OutputEnd = "end"
)

// CommandOutput is a piece of the output of a command.
type CommandOutput struct {
	Attempt int
	// At is the position behind it. Positions count bytes, and one for each that is no output.
	At   uint64
	Kind string
	Data []byte
}

// ByteSink takes the output of a command as bytes. The command waits as long as Stream does.
type ByteSink interface {
	// Started is called before the first output.
	Started(pid int)
	// Stream does not keep p.
	Stream(kind string, p []byte)
	// Finish is called when the command has ended: Stream does not wait for followers any more.
	Finish()
}
