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
	// Version is that of the protocol; repl_worker.py has the same.
	Version = 2
	// MaxFrame bounds a line from the worker. Its own script stays below it, but for
	// results, which have a budget.
	MaxFrame = 1 << 20
)

// ErrFrame says that what came over the control socket is not a frame of the protocol.
// Our script does not do that, so the code has found the socket.
var ErrFrame = errors.New("not a frame of the protocol")

// Command is a line to the worker.
type Command struct {
	ID   string            `json:"id"`
	Cmd  string            `json:"cmd"` // exec; session, input, fork, shutdown
	Code string            `json:"code,omitempty"`
	Envs map[string]string `json:"envs,omitempty"`
	// Limits are lowered to these before the code begins.
	Limits map[string]int64 `json:"limits,omitempty"`
	// Args are sys.argv after the main module's name.
	Args []string `json:"args,omitempty"`
	// Main is the name of the main module's file if that is not the usual one, Modules are those
	// beside it.
	Main    string   `json:"main,omitempty"`
	Modules []string `json:"modules,omitempty"`
	// Of a session: which of its executions it is, its standard input, and with the
	// first one the variables that stay.
	Execution int               `json:"execution,omitempty"`
	Stdin     string            `json:"stdin,omitempty"`
	Session   map[string]string `json:"session,omitempty"`
	// Input: what it reads from standard input is asked for.
	Input bool `json:"input,omitempty"`
	// Of an answer to that.
	Request int    `json:"request,omitempty"`
	Text    string `json:"text,omitempty"`
	EOF     bool   `json:"eof,omitempty"`
	// Results is the budget of bytes for what the code shows.
	Results int64 `json:"results"`
	// Marks is what the marks of its order begin with: see streams.py.
	Marks string `json:"marks,omitempty"`
	job.Options
	// To are the working directories of the copies that a fork makes.
	To []string `json:"to,omitempty"`
}

// The types of frames.
const (
	Ready     = "ready"
	Failed    = "failed"    // instead of ready
	Rehearsed = "rehearsed" // the answer to a rehearse
	Error     = "error"
	Status    = "status"
	Result    = "result"
	Clear     = "clear" // what was shown is taken back
	// The answers to a fork: it cannot be, it begins, and one for each copy.
	Refused      = "refused"
	Forking      = "forking"
	Forked       = "forked"
	InputRequest = "input_request"
)

// Frame is a line from the worker.
type Frame struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	// ready
	Version int    `json:"version"`
	Python  string `json:"python"`
	// ready and rehearsed: how many steps may be taken
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
	Files    int    `json:"files"`   // not 0: something lies in the working directory
	// result: parsed by valueOf, which has bounds.
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
	Wait bool `json:"wait"` // until there is something new
	// result, clear and input_request: the number of its mark, and who meet there
	Mark int64 `json:"mark"`
	In   int   `json:"in"`
	// input_request
	Request int    `json:"request"`
	Prompt  string `json:"prompt"`
}

// Cut is what of a table was sent: how many, and of how many.
type Cut struct {
	Rows    *[2]int64 `json:"rows"`
	Columns *[2]int64 `json:"columns"`
}

// What our script sends of an error at most, in bytes: errors.py counts characters.
const (
	MaxName = 4 * 256
	MaxText = 4*32<<10 + 256 // with a note of what was dropped
)

// clip cuts a text that is longer than our script's, so one that the code has sent.
func clip(text *string, most int) {
	if len(*text) > most {
		*text = strings.Clone(strings.ToValidUTF8((*text)[:most], ""))
	}
}

// decodeFrame reads one line. It accepts only what the protocol allows.
func decodeFrame(line []byte) (Frame, error) {
	var f Frame
	if err := json.Unmarshal(line, &f); err != nil {
		// Without the cause: it would quote what the code sent.
		return Frame{}, fmt.Errorf("%w: malformed", ErrFrame)
	}
	if len(line) > MaxFrame && f.Type != Result { // which alone may be long
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
	case Error, Failed, Rehearsed, Result, Clear, InputRequest, Refused, Forking:
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

// NewReader reads frames from r.
func NewReader(r io.Reader) *Reader {
	return &Reader{r: bufio.NewReaderSize(r, 4<<10), max: MaxFrame}
}

// Allow raises the bound of a line, for results of that size.
func (fr *Reader) Allow(results int64) { fr.max = MaxFrame + int(results) }

// Next returns the next frame; an errFrame for what is none; any other error
// means that no more can be read. A line cut off by the end of the worker is
// dropped: a process may be killed while it writes.
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

// Event is what the frames goroutine hands over: a frame, or why there is none.
type Event struct {
	Frame Frame
	Err   error
}

// Follow passes on the frames of one execution and ends with its status, with
// the end of the socket or with the first thing that does not belong there. Results
// and requests for input go to keep. It never sends more than three events, so that with room for them it
// never blocks and a reader may leave.
func (fr *Reader) Follow(id string, to chan<- Event, keep func(Frame) error) {
	defer close(to)
	described := false
	for {
		f, err := fr.Next()
		switch {
		case errors.Is(err, syscall.ECONNRESET):
			// It ended with the command unread.
			to <- Event{Err: job.ErrNotStarted}
			return
		case err != nil && !errors.Is(err, ErrFrame):
			return // the worker's end shows in its process
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

// isKept reports whether frames of a type go to keep.
func isKept(t string) bool { return t == Result || t == Clear || t == InputRequest }

// FollowRoom is the room that follow needs: an error frame, then a status frame
// or an error, and one to spare.
const FollowRoom = 3
