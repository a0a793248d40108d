package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// End is the end of an execution: the last event of its stream. Output, values and cases came before it, and are in the result only if the
// server sent no stream.
type End struct {
	State   string   `json:"state"`
	Failure *Failure `json:"failure"`
	Result
}

// Handlers receive the events of an execution, in order. Each of them may be nil.
type Handlers struct {
	// Began has the id of the job, as soon as it is known.
	Began func(jobID string)
	// Output has a piece of stdout or stderr. Its error ends the stream.
	Output func(stream, text string) error
	// Value has what the code shows, and the value of its last expression.
	Value func(Value)
	// Case has the verdict of a case.
	Case func(CaseResult)
	// Gap has the number of bytes that are missing here: of output that came too fast, or of one value that was too large,
	// if TooLarge is nil.
	Gap func(bytes int64)
	// TooLarge has the type and the size of one event that was too large. The result of the job has a value of this size, if it has room.
	TooLarge func(event string, bytes int64)
	// Other has all other events.
	Other func(Event) error
}

// ExecuteStream executes code and passes its events on until its end. The end of ctx interrupts the code.
func (c *Client) ExecuteStream(ctx context.Context, body ExecuteBody, h Handlers) (End, error) {
	return c.StreamTo(ctx, "/process/interpreter/execute", body, h)
}

// CommandStream runs a command in a session as ExecuteStream does.
func (c *Client) CommandStream(ctx context.Context, session string, body CommandBody, h Handlers) (End, error) {
	return c.StreamTo(ctx, "/v1/sessions/"+url.PathEscape(session)+"/commands", body, h)
}

// StreamTo sends any body to a path that answers with the events of an execution.
func (c *Client) StreamTo(ctx context.Context, path string, body any, h Handlers) (End, error) {
	res, err := c.open(ctx, http.MethodPost, path, nil, body, []Option{wantsEvents})
	if err != nil {
		return End{}, err
	}
	if isStream(res) {
		end, _, err := h.follow(res.Body)
		return end, err
	}
	// A server, or a proxy before it, that does not support streams answers with the result.
	defer func() { _ = res.Body.Close() }()
	end := End{State: "completed"}
	if err := json.NewDecoder(res.Body).Decode(&end.Result); err != nil {
		return End{}, fmt.Errorf("decode result: %w", err)
	}
	return end, h.whole(end.Result)
}

// whole passes on what a result has.
func (h Handlers) whole(r Result) error {
	if h.Output != nil {
		if err := errors.Join(h.Output("stdout", r.Stdout), h.Output("stderr", r.Stderr)); err != nil {
			return err
		}
	}
	for _, v := range r.Results {
		if h.Value != nil {
			h.Value(v)
		}
	}
	for _, one := range r.Cases {
		if h.Case != nil {
			h.Case(one)
		}
	}
	return nil
}

// resumes bounds how often FollowJob connects again without an event in between.
const resumes = 5

// FollowJob passes the events of a job on from its beginning to its end. If the connection breaks, it goes on where it was.
func (c *Client) FollowJob(ctx context.Context, id string, h Handlers) (End, error) {
	last, failures := "", 0
	for {
		var query url.Values
		if last != "" {
			query = url.Values{"lastEventId": {last}}
		}
		res, err := c.open(ctx, http.MethodGet, "/v1/jobs/"+url.PathEscape(id)+"/events", query, nil, []Option{wantsEvents}) //nolint:bodyclose // Events does it
		if err == nil {
			var end End
			var seen string
			if end, seen, err = h.follow(res.Body); err == nil {
				return end, nil
			}
			if seen != "" {
				last, failures = seen, 0
			}
		}
		_, away := errors.AsType[*UnreachableError](err)
		if failures++; ctx.Err() != nil || failures > resumes || !away && !errors.Is(err, ErrBroken) {
			return End{}, err
		}
	}
}

// follow passes the events of an execution on until the last, and returns the id of the last one that it has seen.
func (h Handlers) follow(body io.ReadCloser) (end End, last string, err error) {
	for e, err := range Events(body) {
		if err != nil {
			return End{}, last, errors.Join(ErrBroken, notEOF(err))
		}
		if e.ID != "" {
			last = e.ID
		}
		done, err := h.Handle(e, &end)
		if err != nil || done {
			return end, last, err
		}
	}
	return End{}, last, ErrBroken
}

func notEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// fields are those of the events that Handle reads.
type fields struct {
	Type, State, JobID, Stream, Text, Code, Detail, Event string
	Resumable                                             bool
	Bytes                                                 int64
}

// Handle passes one event on. It fills end, and returns true, at the last one.
func (h Handlers) Handle(e Event, end *End) (done bool, err error) {
	var f fields
	if err := json.Unmarshal(e.Data, &f); err != nil {
		return false, fmt.Errorf("decode event: %w", err)
	}
	decode := func(to any) { err = errors.Join(err, json.Unmarshal(e.Data, to)) }
	switch {
	case f.Type == "status" && isFinal(f.State):
		decode(end)
		return err == nil, err
	case f.Type == "status" && f.JobID != "" && h.Began != nil:
		h.Began(f.JobID)
	case f.Type == "stream" && h.Output != nil:
		return false, h.Output(f.Stream, f.Text)
	case (f.Type == "display" || f.Type == "result") && h.Value != nil:
		var v Value
		decode(&v)
		h.Value(v)
	case f.Type == "case" && h.Case != nil:
		var one CaseResult
		decode(&one)
		h.Case(one)
	case f.Type == "gap" && f.Event != "" && h.TooLarge != nil:
		h.TooLarge(f.Event, f.Bytes)
	case f.Type == "gap" && h.Gap != nil:
		h.Gap(f.Bytes)
	case f.Type == "error" && f.Code != "": // not the exception of the program, which comes with the end, too
		if f.Resumable {
			return false, fmt.Errorf("%w: %s", ErrBroken, f.Detail)
		}
		return false, errors.New(f.Detail)
	case h.Other != nil:
		return false, h.Other(e)
	}
	return false, err
}

func isFinal(state string) bool {
	return state == "completed" || state == "failed" || state == "cancelled"
}
