package interpreter

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
	protocolVersion = 2
	// maxFrame bounds a line from the worker. Its own script stays below it, but for
	// results, which have a budget.
	maxFrame = 1 << 20
)

// errFrame: what came over the control socket is not a frame of the protocol.
// Our script does not do that, so the code has found the socket.
var errFrame = errors.New("not a frame of the protocol")

// command is a line to the worker.
type command struct {
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
	// Figures are the formats of matplotlib's figures; by default png.
	Figures []string `json:"figures,omitempty"`
	// To are the working directories of the copies that a fork makes.
	To []string `json:"to,omitempty"`
}

// The types of frames.
const (
	frameReady     = "ready"
	frameFailed    = "failed"    // instead of ready
	frameRehearsed = "rehearsed" // the answer to a rehearse
	frameError     = "error"
	frameStatus    = "status"
	frameResult    = "result"
	frameClear     = "clear" // what was shown is taken back
	// The answers to a fork: it cannot be, it begins, and one for each copy.
	frameRefused = "refused"
	frameForking = "forking"
	frameForked  = "forked"
	frameInput   = "input_request"
)

// frame is a line from the worker.
type frame struct {
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
	Truncated *cut            `json:"truncated"`
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

// What our script sends of an error at most, in bytes: errors.py counts characters.
const (
	maxName = 4 * 256
	maxText = 4*32<<10 + 256 // with a note of what was dropped
)

// clip cuts a text that is longer than our script's, so one that the code has sent.
func clip(text *string, most int) {
	if len(*text) > most {
		*text = strings.Clone(strings.ToValidUTF8((*text)[:most], ""))
	}
}

// decodeFrame reads one line. It accepts only what the protocol allows.
func decodeFrame(line []byte) (frame, error) {
	var f frame
	if err := json.Unmarshal(line, &f); err != nil {
		// Without the cause: it would quote what the code sent.
		return frame{}, fmt.Errorf("%w: malformed", errFrame)
	}
	if len(line) > maxFrame && f.Type != frameResult { // which alone may be long
		return frame{}, fmt.Errorf("%w: longer than %d bytes", errFrame, maxFrame)
	}
	clip(&f.Name, maxName)
	clip(&f.Value, maxText)
	clip(&f.Traceback, maxText)
	clip(&f.Error, maxText)
	clip(&f.Layer, maxName)
	switch f.Type {
	case frameReady:
		if f.Version != protocolVersion {
			return frame{}, fmt.Errorf("%w: version %d", errFrame, f.Version)
		}
	case frameError, frameFailed, frameRehearsed, frameResult, frameClear, frameInput, frameRefused, frameForking:
	case frameForked:
		if f.PID <= 1 {
			return frame{}, fmt.Errorf("%w: not a process", errFrame)
		}
	case frameStatus:
		switch f.Status {
		case "ok", "error", "exit":
		default:
			return frame{}, fmt.Errorf("%w: unknown status", errFrame)
		}
		if f.ExitCode < 0 || f.ExitCode > 255 {
			return frame{}, fmt.Errorf("%w: exit code out of range", errFrame)
		}
		if f.Dropped < 0 {
			return frame{}, fmt.Errorf("%w: negative count", errFrame)
		}
	default:
		return frame{}, fmt.Errorf("%w: unknown type", errFrame)
	}
	return f, nil
}

// frameReader reads frames from the control socket.
type frameReader struct {
	r   *bufio.Reader
	max int
}

func newFrameReader(r io.Reader) *frameReader {
	return &frameReader{r: bufio.NewReaderSize(r, 4<<10), max: maxFrame}
}

// allow raises the bound of a line, for results of that size.
func (fr *frameReader) allow(results int64) { fr.max = maxFrame + int(results) }

// next returns the next frame; an errFrame for what is none; any other error
// means that no more can be read. A line cut off by the end of the worker is
// dropped: a process may be killed while it writes.
func (fr *frameReader) next() (frame, error) {
	var line []byte
	for {
		part, err := fr.r.ReadSlice('\n')
		if len(line)+len(part) > fr.max {
			return frame{}, fmt.Errorf("%w: longer than %d bytes", errFrame, fr.max)
		}
		if err == nil && line == nil {
			return decodeFrame(part)
		}
		line = append(line, part...)
		switch {
		case err == nil:
			return decodeFrame(line)
		case !errors.Is(err, bufio.ErrBufferFull):
			return frame{}, fmt.Errorf("read frame: %w", err)
		}
	}
}

// event is what the frames goroutine hands over: a frame, or why there is none.
type event struct {
	frame frame
	err   error
}

// follow passes on the frames of one execution and ends with its status, with
// the end of the socket or with the first thing that does not belong there. Results
// and requests for input go to keep. It never sends more than three events, so that with room for them it
// never blocks and a reader may leave.
func (fr *frameReader) follow(id string, to chan<- event, keep func(frame) error) {
	defer close(to)
	described := false
	for {
		f, err := fr.next()
		switch {
		case errors.Is(err, syscall.ECONNRESET):
			// It ended with the command unread.
			to <- event{err: job.ErrNotStarted}
			return
		case err != nil && !errors.Is(err, errFrame):
			return // the worker's end shows in its process
		case err != nil:
		case f.ID != id:
			err = fmt.Errorf("%w: wrong id", errFrame)
		case f.Type != frameStatus && !isKept(f.Type) && (f.Type != frameError || described):
			err = fmt.Errorf("%w: %s is out of place", errFrame, f.Type)
		case isKept(f.Type):
			if err = keep(f); err == nil {
				continue
			}
		}
		to <- event{frame: f, err: err}
		if err != nil || f.Type == frameStatus {
			return
		}
		described = true
	}
}

// isKept reports whether frames of a type go to keep.
func isKept(t string) bool { return t == frameResult || t == frameClear || t == frameInput }

// followRoom is the room that follow needs: an error frame, then a status frame
// or an error, and one to spare.
const followRoom = 3
