package e2b

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// stream answers with the events of an execution. An error is one before the first event.
func (d *Dialect) stream(w http.ResponseWriter, r *http.Request, session string, from *service.Watching) error {
	out := lines{w: w, control: http.NewResponseController(w)}
	begun, running := false, false
	for {
		e, err := from.Next(r.Context(), keepAliveEvery)
		var answer []any
		switch {
		case errors.Is(err, service.ErrQuiet) && running:
			answer, err = []any{map[string]string{"type": "keepalive"}}, nil
		case errors.Is(err, service.ErrQuiet):
			continue
		case errors.Is(err, service.ErrOver):
			return nil
		case err != nil && !begun:
			return err
		case err != nil:
			panic(http.ErrAbortHandler) // the SDKs take a clean end for success
		default:
			answer, err = linesOf(e)
			running = running || e.Type == job.EventStatus && e.ID.Attempt > 0
		}
		if err != nil && !begun {
			return err
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if !begun && len(answer) > 0 { // not before: a context may turn out not to be there
			begun = true
			w.Header().Set("Content-Type", "application/x-ndjson")
			w.WriteHeader(http.StatusOK)
			number := map[string]any{"type": "number_of_executions", "execution_count": d.counts.next(session)}
			answer = append([]any{number}, answer...)
		}
		for _, line := range answer {
			if out.write(line) != nil {
				return nil // the caller has gone
			}
		}
	}
}

type outputLine struct {
	Type      string `json:"type"`
	Text      string `json:"text"`
	Timestamp string `json:"timestamp"`
}

type errorLine struct {
	Type      string `json:"type"`
	Name      string `json:"name"`
	Value     string `json:"value"`
	Traceback string `json:"traceback"`
}

// linesOf translates an event. An error ends the answer: the execution has no end of its own.
func linesOf(e job.Event) ([]any, error) {
	var data dialect.Event
	if err := json.Unmarshal(e.Data, &data); err != nil {
		return nil, fmt.Errorf("decode event: %w", err)
	}
	switch {
	case e.Type == job.EventStream:
		return []any{outputLine{data.Stream, data.Text, time.Now().UTC().Format(time.RFC3339Nano)}}, nil
	case e.Type == job.EventResult, e.Type == job.EventDisplay:
		return []any{resultLine(data.Value)}, nil
	case e.Type == job.EventError:
		return []any{errorLine{"error", data.Name, data.Message, data.Traceback}}, nil
	case e.Type == job.EventStatus && data.State.Terminal():
		return endLines(data)
	}
	return nil, nil
}

// endLines is the end of an execution.
func endLines(data dialect.Event) ([]any, error) {
	end := []any{map[string]string{"type": "end_of_execution"}}
	switch {
	case data.State == job.Completed && data.Status == job.StatusExit && data.Error == nil:
		code := 0
		if data.ExitCode != nil {
			code = *data.ExitCode
		}
		value := strconv.Itoa(code)
		return append([]any{errorLine{"error", "SystemExit", value, "SystemExit: " + value}}, end...), nil
	case data.State == job.Completed:
		return end, nil
	case data.Failure == nil, data.Failure.Code == job.FailCancelled:
		return append([]any{errorLine{"error", "ExecutionAborted", "the execution was cancelled", ""}}, end...), nil
	}
	return nil, &service.EndError{Job: job.Job{State: data.State, Failure: data.Failure}}
}

// forms are the fields of a result by MIME type.
func forms() map[string]string {
	return map[string]string{
		"text/plain": "text", "text/html": "html", "text/markdown": "markdown", "image/svg+xml": "svg", "image/png": "png", "image/jpeg": "jpeg",
		"application/pdf": "pdf", "text/latex": "latex", "application/json": "json", "application/javascript": "javascript",
		"application/vnd.kaa.chart+json": "chart",
	}
}

// resultLine is a value that the code showed.
func resultLine(v job.Value) map[string]any {
	line, known := map[string]any{"type": "result", "is_main_result": v.Main}, forms()
	extra := map[string]any{}
	for kind, form := range v.Data {
		if name, ok := known[kind]; ok {
			line[name] = form
		} else {
			extra[kind] = form
		}
	}
	if text, ok := line["text"].(json.RawMessage); ok {
		line["text"] = unquoted(text)
		if form := literalOf(v.Data, text); form != nil {
			line["json"] = form
		}
	}
	// The columns of a table.
	if columns, ok := line["json"].(json.RawMessage); ok && line["html"] != nil && strings.HasPrefix(string(columns), "{") {
		line["data"] = columns
		delete(line, "json")
	}
	if len(extra) > 0 {
		line["extra"] = extra
	}
	return line
}

// literalOf is the JSON of a list or dictionary, which has no form but its repr.
func literalOf(all map[string]json.RawMessage, form json.RawMessage) json.RawMessage {
	var text string
	if len(all) != 1 || json.Unmarshal(form, &text) != nil {
		return nil
	}
	return jsonOfLiteral(text)
}

// unquoted takes one pair of quotes away from the text of a string.
func unquoted(form json.RawMessage) string {
	var text string
	if json.Unmarshal(form, &text) != nil {
		return string(form)
	}
	if n := len(text); n >= 2 && (text[0] == '\'' || text[0] == '"') && text[n-1] == text[0] {
		return text[1 : n-1]
	}
	return text
}

// ascii escapes all characters of JSON beyond ASCII.
func ascii(text []byte) []byte {
	plain := true
	for _, b := range text {
		plain = plain && b < utf8.RuneSelf
	}
	if plain {
		return text
	}
	escaped := make([]byte, 0, len(text)+len(text)/2)
	for _, c := range string(text) {
		switch {
		case c < utf8.RuneSelf:
			escaped = append(escaped, byte(c)) //nolint:gosec // ASCII
		case c > 0xffff:
			high, low := utf16.EncodeRune(c)
			escaped = fmt.Appendf(escaped, `\u%04x\u%04x`, high, low)
		default:
			escaped = fmt.Appendf(escaped, `\u%04x`, c)
		}
	}
	return escaped
}
