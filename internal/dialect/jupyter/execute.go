package jupyter

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"strconv"
	"strings"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// executeContent is the content of an execute_request.
type executeContent struct {
	Code         string `json:"code"`
	Silent       bool   `json:"silent"`
	StoreHistory *bool  `json:"store_history"`
	AllowStdin   *bool  `json:"allow_stdin"`
	StopOnError  *bool  `json:"stop_on_error"`
	// Expressions are evaluated after the code.
	Expressions map[string]string `json:"user_expressions"`
}

// is reports what an optional field says; it is true without it.
func is(field *bool) bool { return field == nil || *field }

// execute executes code, and passes on what it does: busy, execute_input, outputs, execute_reply, idle.
// abort: the executions that were taken are not to begin.
func (k *socket) execute(ctx context.Context, m *message) (abort bool, err error) {
	var content executeContent
	if json.Unmarshal(m.Content, &content) != nil {
		return false, k.reply(m, failure("ValueError", "the content of an execute_request has fields of wrong types"))
	}
	if err := k.status(m, "busy"); err != nil {
		return false, err
	}
	blank := strings.TrimSpace(content.Code) == ""
	count := k.d.counts.last(k.session)
	if !content.Silent && !blank && is(content.StoreHistory) {
		count = k.d.counts.next(k.session)
	}
	if !content.Silent {
		if err := k.send(chanIOPub, "execute_input", m.Header, fields{"code": content.Code, "execution_count": count}); err != nil {
			return false, err
		}
	}
	reply := fields{"status": "ok", "payload": []any{}, "user_expressions": fields{}}
	help := asksHelp.FindStringSubmatch(content.Code)
	switch {
	case help != nil:
		reply["payload"] = k.help(ctx, m, help[1]+help[2], strings.Count(content.Code, "?")-1)
	case !blank:
		e := &execution{socket: k, m: m, content: content, count: count}
		failed, err := e.run(ctx)
		if err != nil {
			return false, err
		}
		if failed != nil {
			reply = failed
		} else {
			reply["user_expressions"] = k.evaluate(ctx, content.Expressions)
		}
	}
	reply["execution_count"] = count
	if abort = reply["status"] == "error" && is(content.StopOnError); abort {
		k.take()
	}
	if err := k.respond(m, reply); err != nil {
		return false, err
	}
	return abort, k.status(m, "idle")
}

// execution is one that runs.
type execution struct {
	*socket
	m       *message
	content executeContent
	count   int
	jobID   string
	refused bool       // whether it wanted input that the client does not give
	raised  *job.Error // the exception that was reported
}

// run executes the code, and returns the reply if it failed. The error ends the connection.
func (e *execution) run(ctx context.Context) (fields, error) {
	rate, err := e.d.service.Allow(ctx, e.caller)
	if err == nil && !rate.Allowed {
		return e.report(e.failed(ctx, service.TooFast(rate)))
	}
	limits := e.d.service.LimitsOf(e.caller)
	longest := limits.MaxTimeout.Seconds()
	j, err := e.d.service.SubmitObserved(ctx, e.caller, job.Request{
		Code: dialect.NotebookCode(e.content.Code, limits.Packages.Allowed), SessionID: e.session, Events: true, Input: true, PromptApart: true, Timeout: &longest,
	}, func(id string) { e.jobID = id })
	if err != nil {
		return e.unless(ctx, err)
	}
	f, err := e.d.service.FollowObserved(ctx, e.caller, j.ID)
	if err != nil {
		return e.unless(ctx, err)
	}
	defer f.Close()
	var outage service.Outage
	for {
		event, err := f.Next(ctx, observeEvery)
		switch {
		case err == nil:
			outage.Over()
		case errors.Is(err, service.ErrQuiet):
			continue
		default:
			if err = outage.Bear(ctx, err); err != nil {
				return e.unless(ctx, err)
			}
			continue
		}
		reply, over, err := e.show(ctx, event)
		if over || err != nil {
			return reply, err
		}
	}
}

// unless reports an error of the service, unless the connection is over.
func (e *execution) unless(ctx context.Context, err error) (fields, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return e.report(e.failed(ctx, err))
}

// report sends an error as an output, and returns it as the reply.
func (e *execution) report(reply fields) (fields, error) {
	shown := maps.Clone(reply)
	delete(shown, "status")
	return reply, e.publish("error", shown)
}

func (e *execution) publish(typ string, content any) error {
	return e.send(chanIOPub, typ, e.m.Header, content)
}

// show passes on an event. over: it was the last one, and reply is that of a failure.
func (e *execution) show(ctx context.Context, event job.Event) (reply fields, over bool, err error) {
	switch event.Type { //nolint:exhaustive // others are of functions and cases, which it has none of
	case job.EventStream:
		var data job.StreamData
		if json.Unmarshal(event.Data, &data) == nil && data.Text != "" {
			err = e.publish("stream", fields{"name": data.Stream, "text": data.Text})
		}
	case job.EventDisplay, job.EventResult:
		err = e.value(event.Data)
	case job.EventClear:
		var data job.ClearData
		if json.Unmarshal(event.Data, &data) == nil {
			err = e.publish("clear_output", fields{"wait": data.Wait})
		}
	case job.EventInput:
		var data job.InputData
		if json.Unmarshal(event.Data, &data) == nil {
			err = e.ask(ctx, data)
		}
	case job.EventError:
		var data job.ErrorData
		if json.Unmarshal(event.Data, &data) == nil {
			e.raised = &data.Error
		}
	case job.EventGap:
		err = e.publish("stream", fields{"name": "stderr", "text": "\n[Kaa: output is missing here]\n"})
	case job.EventStatus:
		return e.ended(event.Data)
	}
	return nil, false, err
}

// ask asks the client for input, or tells the code that there is none.
func (e *execution) ask(ctx context.Context, asked job.InputData) error {
	answer := job.Answer{JobID: e.jobID, Request: asked.Request}
	if !is(e.content.AllowStdin) {
		e.refused, answer.EOF = true, true
		e.give(ctx, answer)
		return nil
	}
	e.mu.Lock()
	e.asked = answer
	e.mu.Unlock()
	return e.send(chanStdin, "input_request", e.m.Header, fields{"prompt": asked.Prompt, "password": false})
}

// ended is for the status of the job; the last one is its end.
func (e *execution) ended(data json.RawMessage) (reply fields, over bool, err error) {
	var end struct {
		State   job.State         `json:"state"`
		Status  job.Status        `json:"status"`
		Failure *job.Failure      `json:"failure"`
		Error   *job.Error        `json:"error"`
		Session *job.SessionAfter `json:"session"`
		Exit    *int              `json:"exitCode"`
	}
	if json.Unmarshal(data, &end) != nil || !end.State.Terminal() {
		return nil, false, nil
	}
	e.mu.Lock()
	e.asked = job.Answer{}
	e.mu.Unlock()
	if end.Session != nil && end.Session.Restarted {
		if err := e.publish("stream", fields{"name": "stderr", "text": "[Kaa: the kernel was restarted: " + end.Session.Message + "]\n"}); err != nil {
			return nil, false, err
		}
		e.d.counts.reset(e.session)
	}
	if e.raised == nil {
		e.raised = end.Error
	}
	failed := e.raised
	if failed == nil || failed.Name == "" {
		if failed = errorOf(end.State, end.Status, end.Failure, end.Session, end.Exit); failed == nil {
			return nil, true, nil
		}
	}
	if e.refused && failed.Name == "EOFError" && failed.Value == noLine {
		const name, value = "StdinNotImplementedError", "raw_input was called, but this frontend does not support input requests."
		failed = &job.Error{Name: name, Value: value, Traceback: strings.Replace(failed.Traceback, "EOFError: "+noLine, name+": "+value, 1)}
	}
	content := failure(failed.Name, failed.Value)
	if failed.Traceback != "" {
		content["traceback"] = strings.Split(strings.TrimRight(failed.Traceback, "\n"), "\n")
	}
	reply, err = e.report(content)
	return reply, true, err
}

// noLine is the text of Python's error for an input that has ended.
const noLine = "EOF when reading a line"

// errorOf is the error for an end without an exception; nil if the code has succeeded.
func errorOf(state job.State, status job.Status, failure *job.Failure, session *job.SessionAfter, exit *int) *job.Error {
	switch {
	case failure != nil && failure.Code == job.FailSessionEnded, session != nil && session.State == job.SessionEnded:
		return &job.Error{Name: "DeadKernelError", Value: "the kernel has ended"}
	case state == job.Cancelled:
		return &job.Error{Name: "KeyboardInterrupt", Traceback: "KeyboardInterrupt"}
	case failure != nil:
		return &job.Error{Name: "KaaError", Value: failure.Message}
	case status == job.StatusInterrupted:
		return &job.Error{Name: "TimeoutError", Value: "the execution took longer than it may"}
	case status == job.StatusExit && exit != nil:
		code := strconv.Itoa(*exit)
		return &job.Error{Name: "SystemExit", Value: code, Traceback: "SystemExit: " + code}
	case status == job.StatusExit:
		return &job.Error{Name: "SystemExit", Traceback: "SystemExit"}
	}
	return nil
}
