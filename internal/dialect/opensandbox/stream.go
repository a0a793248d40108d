package opensandbox

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// pingEvery is how long a stream is silent before it says that it lives.
const pingEvery = 3 * time.Second

// frame is one event of a stream.
type frame struct {
	Type      string         `json:"type"`
	Text      string         `json:"text,omitempty"`
	Took      *int64         `json:"execution_time,omitempty"` // milliseconds
	Timestamp int64          `json:"timestamp"`                // milliseconds
	Results   map[string]any `json:"results,omitempty"`
	Error     *frameError    `json:"error,omitempty"`
}

type frameError struct {
	Name      string   `json:"ename"`
	Value     string   `json:"evalue"`
	Traceback []string `json:"traceback"`
}

// sender writes events. The header goes out with the first of them, so that an error before it has a status of its own.
type sender struct {
	w       http.ResponseWriter
	control *http.ResponseController
	begun   bool
}

// now is the time in milliseconds.
func now() int64 { return time.Now().UnixMilli() }

func newSender(w http.ResponseWriter) *sender {
	return &sender{w: w, control: http.NewResponseController(w)}
}

func (s *sender) send(f frame) error {
	if !s.begun {
		s.begun = true
		h := s.w.Header()
		h.Set("Content-Type", "text/event-stream")
		h.Set("Cache-Control", "no-cache")
		h.Set("X-Accel-Buffering", "no")
		s.w.WriteHeader(http.StatusOK)
	}
	f.Timestamp = now()
	text, err := json.Marshal(f)
	if err != nil {
		return err
	}
	if _, err = s.w.Write([]byte("data: " + string(text) + "\n\n")); err != nil {
		return err
	}
	return s.control.Flush()
}

// translator words the events of one kind of execution.
type translator interface {
	// output returns the events for a piece of output.
	output(stream, text string) []frame
	// end returns those for the end of an execution that has a result.
	end(e dialect.Event, failed bool) []frame
}

// stream answers with the events of an execution until its end. An error is one before the first event.
func (d *Dialect) stream(w http.ResponseWriter, r *http.Request, from *service.Watching, words translator) error {
	defer from.Close(r.Context())
	out := newSender(w)
	failed := false
	for {
		e, err := from.Next(r.Context(), pingEvery)
		var frames []frame
		switch {
		case errors.Is(err, service.ErrQuiet) && out.begun:
			frames, err = []frame{{Type: "ping", Text: "pong"}}, nil
		case errors.Is(err, service.ErrQuiet):
			continue
		case errors.Is(err, service.ErrOver):
			return nil
		case err == nil:
			frames, err = framesOf(e, from.ID(), words, &failed)
		}
		if err != nil && !out.begun {
			return err
		}
		if err != nil { // a clean end would be taken for success
			f := dialect.FaultOf(r.Context(), d.log, d.worded(r, err))
			frames = []frame{errorFrame(job.Error{Name: "RuntimeError", Value: f.Message})}
		}
		for _, f := range frames {
			if out.send(f) != nil {
				return nil // the caller has gone
			}
		}
		if err != nil {
			return nil
		}
	}
}

// framesOf words an event.
func framesOf(e job.Event, id string, words translator, failed *bool) ([]frame, error) {
	var data dialect.Event
	if err := json.Unmarshal(e.Data, &data); err != nil {
		return nil, err
	}
	switch {
	case e.Type == job.EventStream:
		return words.output(data.Stream, data.Text), nil
	case e.Type == job.EventResult, e.Type == job.EventDisplay:
		return []frame{{Type: "result", Results: formsOf(data.Value)}}, nil
	case e.Type == job.EventError:
		*failed = true
		return []frame{errorFrame(job.Error{Name: data.Name, Value: data.Message, Traceback: data.Traceback})}, nil
	case e.Type == job.EventStatus && data.State == job.Running && e.ID.Attempt > 0: // else its packages are being installed
		return []frame{{Type: "init", Text: id}}, nil
	case e.Type == job.EventStatus && data.State == job.Completed:
		return words.end(data, *failed), nil
	case e.Type == job.EventStatus && data.State.Terminal():
		return nil, &service.EndError{Job: job.Job{ID: id, State: data.State, Failure: data.Failure}}
	}
	return nil, nil
}

func errorFrame(e job.Error) frame {
	lines := []string{}
	if e.Traceback != "" {
		lines = strings.Split(strings.TrimSuffix(e.Traceback, "\n"), "\n")
	}
	return frame{Type: "error", Error: &frameError{e.Name, e.Value, lines}}
}

// formsOf are the forms of a value by media type; the plain text is called text.
func formsOf(v job.Value) map[string]any {
	forms := make(map[string]any, len(v.Data))
	for kind, data := range v.Data {
		if kind == "text/plain" {
			kind = "text"
		}
		forms[kind] = data
	}
	return forms
}

func complete(took float64) frame {
	return frame{Type: "execution_complete", Took: new(int64(took))}
}

// codeWords words the execution of code: output as it comes, and both an error and an end.
type codeWords struct{}

func (codeWords) output(stream, text string) []frame { return []frame{{Type: stream, Text: text}} }

func (codeWords) end(e dialect.Event, failed bool) []frame {
	frames := []frame{complete(e.DurationMs)}
	if failed || e.Status == job.StatusOK {
		return frames
	}
	why := job.Error{Name: "SystemExit"}
	if e.Error != nil {
		why = *e.Error
	}
	return append([]frame{errorFrame(why)}, frames...)
}
