// Package toy speaks the streaming POST /execute of E2B's code interpreter. It shows what a
// dialect takes: it imports the service and the core, and changes nothing elsewhere.
package toy

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// Execute answers POST /execute with one JSON object per line.
type Execute struct{ Service *service.Service }

// Key returns the API key of a request.
func (Execute) Key(r *http.Request) string { return r.Header.Get("X-API-Key") }

// Public reports that no request is.
func (Execute) Public(*http.Request) bool { return false }

// Probe reports that no request is one.
func (Execute) Probe(*http.Request) bool { return false }

// Body takes JSON.
func (Execute) Body(*http.Request) service.Body { return service.BodyText }

// Refuse answers with the error's text, as this protocol does.
func (Execute) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	status, busy := http.StatusInternalServerError, (*service.BusyError)(nil)
	invalid := (*job.ValidationError)(nil)
	switch {
	case errors.As(err, &invalid):
		status = http.StatusBadRequest
	case errors.Is(err, service.ErrUnauthorized):
		status = http.StatusUnauthorized
	case errors.As(err, &busy):
		status = http.StatusTooManyRequests
	}
	service.CallOf(r.Context()).Problem = http.StatusText(status)
	http.Error(w, err.Error(), status)
}

func (e Execute) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	service.CallOf(r.Context()).Route = "/execute"
	var body struct {
		Code string            `json:"code"`
		Envs map[string]string `json:"env_vars"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, "send JSON with code", http.StatusBadRequest)
		return
	}
	watching, err := e.Service.Watch(r.Context(), service.CallerOf(r.Context()), service.Submission{
		Request: job.Request{Code: body.Code, Envs: body.Envs},
	})
	if err != nil {
		e.Refuse(w, r, err)
		return
	}
	defer watching.Close(r.Context())
	w.Header().Set("Content-Type", "application/x-ndjson")
	lines, control := json.NewEncoder(w), http.NewResponseController(w)
	for {
		event, err := watching.Next(r.Context(), time.Minute)
		if errors.Is(err, service.ErrQuiet) {
			continue
		}
		if err != nil {
			return
		}
		if line := lineOf(event); line != nil {
			if lines.Encode(line) != nil || control.Flush() != nil {
				return
			}
		}
	}
}

// lineOf translates an event; nil if this protocol has none for it.
func lineOf(e job.Event) map[string]any {
	var data struct {
		job.Value
		Stream, Text, Name, Traceback string
		Message                       string `json:"value"`
		State                         job.State
	}
	if json.Unmarshal(e.Data, &data) != nil {
		return nil
	}
	switch {
	case e.Type == job.EventStream:
		return map[string]any{"type": data.Stream, "text": data.Text, "timestamp": time.Now().UnixNano()}
	case e.Type == job.EventResult, e.Type == job.EventDisplay:
		return map[string]any{"type": "result", "formats": data.Data, "is_main_result": data.Main}
	case e.Type == job.EventError:
		return map[string]any{"type": "error", "name": data.Name, "value": data.Message, "traceback": data.Traceback}
	case data.State.Terminal():
		return map[string]any{"type": "end_of_execution"}
	}
	return nil
}
