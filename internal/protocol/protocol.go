package protocol

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/kaa-run/kaa/internal/job"
)

const (
	// Version is the version of the protocol. repl_worker.py has the same number.
	Version = 2
	// MaxFrame is the longest line from the worker, in bytes. The worker script stays below
	// it, except for results, which have a budget of their own.
	MaxFrame = 1 << 20
)

// ErrFrame is the error for a line from the control socket that is not a frame of the
// protocol. The worker script never sends one, so executed code has found the socket.
var ErrFrame = errors.New("not a frame of the protocol")

// Command is a line that the runner sends to the worker.
type Command struct {
	ID   string            `json:"id"`
	Cmd  string            `json:"cmd"` // exec; session, input, reply, fork, shutdown
	Code string            `json:"code,omitempty"`
	Envs map[string]string `json:"envs,omitempty"`
	// Cwd is the directory in which the code begins; empty is the working directory.
	Cwd string `json:"cwd,omitempty"`
	// Limits are resource limits, to which the worker lowers its own before the code begins.
	Limits map[string]int64 `json:"limits,omitempty"`
	// Args are the elements of sys.argv after the main module's name.
	Args []string `json:"args,omitempty"`
	// Main is the name of the main module's file if it is not the usual one. Modules are the
	// modules beside it.
	Main    string   `json:"main,omitempty"`
	Modules []string `json:"modules,omitempty"`
	// Execution, Stdin and Session are for sessions only. Execution counts the session's
	// executions. Stdin is the execution's standard input. Session has the environment
	// variables that stay set; only the first execution has it.
	Execution int               `json:"execution,omitempty"`
	Stdin     string            `json:"stdin,omitempty"`
	Session   map[string]string `json:"session,omitempty"`
	// Workdir is where the session's working directory is, if it has chosen a path; only the first execution has it.
	Workdir string `json:"workdir,omitempty"`
	// Input makes the worker send a request when the code reads from standard input.
	Input bool `json:"input,omitempty"`
	// PromptApart keeps the prompts of such requests out of the output.
	PromptApart bool `json:"promptApart,omitempty"`
	// Request, Text and EOF answer such a request.
	Request int    `json:"request,omitempty"`
	Text    string `json:"text,omitempty"`
	EOF     bool   `json:"eof,omitempty"`
	// Functions are what the code may call. Request and Text answer a call with a reply command.
	Functions *Functions `json:"functions,omitempty"`
	// Results is the budget in bytes for the values that the code shows.
	Results int64 `json:"results"`
	// Marks is the prefix of the marks that keep the order of the output: see marks.py.
	Marks string `json:"marks,omitempty"`
	job.Options
	// To are the working directories of the forks that a fork command makes.
	To []string `json:"to,omitempty"`
}

// Functions are the functions of an execution's caller, and the budgets of calls.
type Functions struct {
	Offers  []job.Function `json:"offers"`
	Calls   int            `json:"calls"`
	Bytes   int64          `json:"bytes"`
	Most    int            `json:"most"` // bytes of the arguments of one call
	Open    int            `json:"open"` // bytes of the arguments of all open calls
	Depth   int            `json:"depth"`
	Seconds float64        `json:"seconds"`
	AtOnce  int            `json:"atOnce"`
}

// The types of frames.
const (
	Ready     = "ready"
	Failed    = "failed"    // instead of ready
	Rehearsed = "rehearsed" // the answer to a rehearse command
	Error     = "error"
	Status    = "status"
	Result    = "result"
	Clear     = "clear" // takes back everything shown so far
	// The answers to a fork command: it is refused, it begins, one fork exists.
	Refused      = "refused"
	Forking      = "forking"
	Forked       = "forked"
	InputRequest = "input_request"
	Call         = "call"     // the code calls a function of its caller
	CallEnd      = "call_end" // it does not wait for the answer any more
)

// Frame is a line that the worker sends to the runner. The comments name the types of frames
// that use the fields below them.
type Frame struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	// ready
	Version int    `json:"version"`
	Python  string `json:"python"`
	// ready and rehearsed: how many rehearsal steps may be taken
	Rehearsals int `json:"rehearsals"`
	// failed, and refused without a layer
	Layer string `json:"layer"`
	Error string `json:"error"`
	// forked
	PID int `json:"pid"`
	// error
	Name      string `json:"name"`
	Value     string `json:"value"`
	Traceback string `json:"traceback"`
	// status
	Status   string `json:"status"` // ok, error, exit
	ExitCode int    `json:"exitCode"`
	Dropped  int    `json:"dropped"` // results that had no room
	Files    int    `json:"files"`   // 0 if the working directory is empty
	// result: capture.ValueOf parses it within bounds.
	Main      bool            `json:"main"`
	Data      json.RawMessage `json:"data"`
	Metadata  json.RawMessage `json:"metadata"`
	Omitted   json.RawMessage `json:"omitted"`
	Reduced   json.RawMessage `json:"reduced"`
	Errors    json.RawMessage `json:"errors"`
	Truncated *Cut            `json:"truncated"`
	DisplayID string          `json:"displayId"`
	Update    bool            `json:"update"`
	// clear
	Wait bool `json:"wait"` // clear only when the code shows or writes something new
	// result, clear and input_request: the number of the frame's mark, and the streams that
	// have the same mark, as a set of bits
	Mark int64 `json:"mark"`
	In   int   `json:"in"`
	// input_request
	Request int    `json:"request"`
	Prompt  string `json:"prompt"`
	// call: Request is its number, Name the function. call_end: Request, and Value has the reason.
	Arguments  json.RawMessage `json:"arguments"`
	Positional json.RawMessage `json:"positional"`
}

// Cut describes a table that was sent in part: the number of rows and columns sent, and the
// total number.
type Cut struct {
	Rows    *[2]int64 `json:"rows"`
	Columns *[2]int64 `json:"columns"`
}

// The most bytes of an error that the worker script sends. They are four times the limits of
// errors.py, which counts characters.
const (
	MaxName = 4 * 256
	MaxText = 4*32<<10 + 256 // includes the note about the part that was dropped
)

// clip cuts a text that is longer than any text of the worker script. Executed code has sent
// such a text.
func clip(text *string, most int) {
	if len(*text) > most {
		*text = strings.Clone(strings.ToValidUTF8((*text)[:most], ""))
	}
}

// decodeFrame reads one line. It accepts only what the protocol allows.
func decodeFrame(line []byte) (Frame, error) {
	var f Frame
	if err := json.Unmarshal(line, &f); err != nil {
		// The cause is left out: it would quote bytes that the code sent.
		return Frame{}, fmt.Errorf("%w: malformed", ErrFrame)
	}
	if len(line) > MaxFrame && f.Type != Result { // only a result may be longer
		return Frame{}, fmt.Errorf("%w: longer than %d bytes", ErrFrame, MaxFrame)
	}
	clip(&f.Name, MaxName)
	clip(&f.Value, MaxText)
	clip(&f.Traceback, MaxText)
	clip(&f.Error, MaxText)
	clip(&f.Layer, MaxName)
	switch f.Type {
	case Ready:
		if f.Version != Version {
			return Frame{}, fmt.Errorf("%w: version %d", ErrFrame, f.Version)
		}
	case Error, Failed, Rehearsed, Result, Clear, InputRequest, Call, CallEnd, Refused, Forking:
	case Forked:
		if f.PID <= 1 {
			return Frame{}, fmt.Errorf("%w: not a process", ErrFrame)
		}
	case Status:
		switch f.Status {
		case "ok", "error", "exit":
		default:
			return Frame{}, fmt.Errorf("%w: unknown status", ErrFrame)
		}
		if f.ExitCode < 0 || f.ExitCode > 255 {
			return Frame{}, fmt.Errorf("%w: exit code out of range", ErrFrame)
		}
		if f.Dropped < 0 {
			return Frame{}, fmt.Errorf("%w: negative count", ErrFrame)
		}
	default:
		return Frame{}, fmt.Errorf("%w: unknown type", ErrFrame)
	}
	return f, nil
}

// Reader reads frames from the control socket.
type Reader struct {
	r   *bufio.Reader
	max int
}

// NewReader returns a reader of the frames in r.
func NewReader(r io.Reader) *Reader {
	return &Reader{r: bufio.NewReaderSize(r, 4<<10), max: MaxFrame}
}

// Allow raises the longest line by a budget for results, in bytes.
func (fr *Reader) Allow(results int64) { fr.max = MaxFrame + int(results) }

// Next returns the next frame. It returns ErrFrame for a line that is not a frame. Any other
// error means that no more can be read. Next drops a line that is cut off by the end of the
// worker, because a process may be killed while it writes.
func (fr *Reader) Next() (Frame, error) {
	var line []byte
	for {
		part, err := fr.r.ReadSlice('\n')
		if len(line)+len(part) > fr.max {
			return Frame{}, fmt.Errorf("%w: longer than %d bytes", ErrFrame, fr.max)
		}
		if err == nil && line == nil {
			return decodeFrame(part)
		}
		line = append(line, part...)
		switch {
		case err == nil:
			return decodeFrame(line)
		case !errors.Is(err, bufio.ErrBufferFull):
			return Frame{}, fmt.Errorf("read frame: %w", err)
		}
	}
}

// Event is a frame that Follow passes on, or the error that it got instead of one.
type Event struct {
	Frame Frame
	Err   error
}

// Follow passes on the frames of one execution. It returns after the status frame, at the end
// of the socket, or after the first frame that is out of place. Results and requests for
// input go to keep. Follow sends at most three events. So it never blocks if the channel has
// room for FollowRoom events, and the receiver may stop early.
func (fr *Reader) Follow(id string, to chan<- Event, keep func(Frame) error) {
	defer close(to)
	described := false
	for {
		f, err := fr.Next()
		switch {
		case errors.Is(err, syscall.ECONNRESET):
			// The worker ended before it read the command.
			to <- Event{Err: job.ErrNotStarted}
			return
		case err != nil && !errors.Is(err, ErrFrame):
			return // the runner sees the worker's end at its process
		case err != nil:
		case f.ID != id:
			err = fmt.Errorf("%w: wrong id", ErrFrame)
		case f.Type != Status && !isKept(f.Type) && (f.Type != Error || described):
			err = fmt.Errorf("%w: %s is out of place", ErrFrame, f.Type)
		case isKept(f.Type):
			if err = keep(f); err == nil {
				continue
			}
		}
		to <- Event{Frame: f, Err: err}
		if err != nil || f.Type == Status {
			return
		}
		described = true
	}
}

// isKept reports whether frames of a type go to the keep function of Follow.
func isKept(t string) bool {
	return t == Result || t == Clear || t == InputRequest || t == Call || t == CallEnd
}

// FollowRoom is the channel capacity that Follow needs: one for an error frame, one for the
// status frame or an error, and one to spare.
const FollowRoom = 3
