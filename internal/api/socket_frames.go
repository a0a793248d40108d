package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/coder/websocket"
	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// maxInputBytes bounds an answer: it passes Redis's messages and the worker's socket.
const maxInputBytes = 16 << 10

// The frames of clients.
type (
	// FrameHead is what all of them have. It is exported for huma, which looks at no others.
	FrameHead struct {
		Type string `json:"type" enum:"execute,interrupt,input,reply,ping" doc:"The kind of the frame."`
		ID   string `json:"id,omitempty" maxLength:"64" doc:"The client's own name for it, which comes back with all that belongs to it."`
	}
	executeFrame struct {
		FrameHead
		Code    string            `json:"code"`
		Timeout *float64          `json:"timeout,omitempty" nullable:"true"`
		Envs    map[string]string `json:"envs,omitempty" nullable:"true"`
		Limits  *LimitsBody       `json:"limits,omitempty"`

		Functions []FunctionBody `json:"functions,omitempty" nullable:"true"`
		job.Options
	}
	inputFrame struct {
		FrameHead
		JobID   string `json:"jobId,omitempty" maxLength:"64"`
		Request *whole `json:"request,omitempty" nullable:"true"`
		Text    string `json:"text,omitempty"`
		EOF     bool   `json:"eof,omitempty"`
	}
)

// badMessageError ends the connection: what came can be no frame.
type badMessageError struct {
	code   websocket.StatusCode
	reason string
}

func (e *badMessageError) Error() string { return e.reason }

// socketSchemas are what the frames are checked against, by type.
func (s *server) socketSchemas() map[string]*huma.Schema {
	schema := func(t reflect.Type) *huma.Schema { return huma.SchemaFromType(s.api.OpenAPI().Components.Schemas, t) }
	return map[string]*huma.Schema{
		"execute": schema(reflect.TypeFor[executeFrame]()), "input": schema(reflect.TypeFor[inputFrame]()), "reply": schema(reflect.TypeFor[replyFrame]()),
		"interrupt": schema(reflect.TypeFor[FrameHead]()), "ping": schema(reflect.TypeFor[FrameHead]()),
	}
}

// readFrames carries out the client's frames until the client goes, or sends something else.
func (k *socket) readFrames(ctx context.Context) error {
	for {
		if err := k.readFrame(ctx); err != nil {
			return err
		}
	}
}

func (k *socket) readFrame(ctx context.Context) error {
	held := k.s.cfg.Service.HoldBody(k.caller)
	defer held.Release()
	text, err := k.read(ctx, held)
	if _, ok := errors.AsType[*service.BusyError](err); ok {
		return k.refuse(ctx, "", err)
	}
	if err != nil {
		return err
	}
	return k.take(ctx, text)
}

// read returns the next message.
func (k *socket) read(ctx context.Context, held *service.Held) ([]byte, error) {
	kind, r, err := k.reading.Next(ctx, k.conn)
	if err != nil {
		return nil, errClientGone
	}
	if kind != websocket.MessageText {
		return nil, &badMessageError{websocket.StatusUnsupportedData, "send frames as text"}
	}
	text, err := service.ReadMessage(k.conn, r, service.MessageLimits{Pause: k.s.cfg.FrameTimeout, Held: held})
	_, busy := errors.AsType[*service.BusyError](err)
	switch {
	case busy:
		return nil, err
	case err != nil: // also if it is too large: the library has closed with 1009
		return nil, errClientGone
	case !utf8.Valid(text):
		return nil, &badMessageError{websocket.StatusInvalidFramePayloadData, "a frame is not valid UTF-8"}
	case !json.Valid(text):
		return nil, &badMessageError{websocket.StatusInvalidFramePayloadData, "a frame is not JSON"}
	}
	return text, nil
}

// take does what a frame asks for. An error ends the connection; what is wrong with the
// frame does not.
func (k *socket) take(ctx context.Context, text []byte) error {
	var parsed any
	if err := unmarshal(text, &parsed); err != nil {
		return k.complain("", badRequest(withoutGo(err.Error())))
	}
	fields, ok := parsed.(map[string]any)
	kind, _ := fields["type"].(string)
	id, _ := fields["id"].(string)
	schema := k.s.frames[kind]
	if !ok || schema == nil {
		const msg = "must be execute, interrupt, input, reply or ping"
		return k.complain(id, badRequest("type: "+msg, FieldIssue{"type", msg}))
	}
	if err := k.s.validate(schema, parsed); err != nil {
		return k.refuse(ctx, id, err)
	}
	if kind == "ping" {
		return k.send(FrameHead{Type: "pong", ID: id})
	}
	if err := k.keepRate(ctx); err != nil {
		return k.refuse(ctx, id, err)
	}
	switch kind {
	case "execute":
		return k.execute(ctx, id, text)
	case "input":
		return k.input(ctx, id, text)
	case "reply":
		return k.reply(ctx, id, text)
	}
	return k.interrupt(ctx, id)
}

// keepRate keeps callers to their rate, as every request does.
func (k *socket) keepRate(ctx context.Context) error {
	rate, err := k.s.cfg.Service.Allow(ctx, k.caller)
	if err != nil || rate.Allowed {
		return nil //nolint:nilerr // what it needs Redis for will say so better
	}
	return service.TooFast(rate)
}

// execute has the session execute code. Its frames are the sender's to send; that it is
// accepted comes first.
func (k *socket) execute(ctx context.Context, id string, text []byte) error {
	var f executeFrame
	if err := json.Unmarshal(text, &f); err != nil {
		return k.refuse(ctx, id, badRequest(withoutGo(err.Error())))
	}
	own, jobID := ownExecution{id, make(chan struct{})}, ""
	defer close(own.acked)
	j, err := k.s.cfg.Service.SubmitObserved(ctx, k.caller, job.Request{
		Code: f.Code, Timeout: f.Timeout, Envs: f.Envs, Options: f.Options, Limits: f.Limits.request(),
		SessionID: k.session, Events: true, Input: true, Functions: functionsOf(f.Functions), Followed: true,
	}, func(id string) {
		jobID = id
		k.mu.Lock()
		defer k.mu.Unlock()
		k.mine[jobID] = own
	})
	if err != nil {
		k.forget(jobID)
		return k.refuse(ctx, id, err)
	}
	return k.write(frameOf(waitingFrame(j), j.ID, id))
}

// waitingFrame is waitingEvent for frameOf, which adds the job.
func waitingFrame(j job.Job) job.Event {
	return job.NewEvent(job.EventStatus, struct {
		Type  job.EventType `json:"type"`
		State job.State     `json:"state"`
	}{job.EventStatus, j.State})
}

// interrupt ends what the session executes.
func (k *socket) interrupt(ctx context.Context, id string) error {
	jobID, err := k.s.cfg.Service.Interrupt(ctx, k.caller, k.session)
	if err != nil {
		return k.refuse(ctx, id, err)
	}
	return k.send(struct {
		FrameHead
		Interrupted bool   `json:"interrupted"`
		JobID       string `json:"jobId,omitempty"`
	}{FrameHead{"interrupt", id}, jobID != "", jobID})
}

// input answers the input request that the frame names, or the last one that this client
// received.
func (k *socket) input(ctx context.Context, id string, text []byte) error {
	var f inputFrame
	if err := json.Unmarshal(text, &f); err != nil {
		return k.refuse(ctx, id, badRequest(withoutGo(err.Error())))
	}
	if len(f.Text) > maxInputBytes {
		msg := fmt.Sprintf("is %d bytes long, the limit is %d", len(f.Text), maxInputBytes)
		return k.refuse(ctx, id, badRequest("text: "+msg, FieldIssue{"text", msg}))
	}
	k.mu.Lock()
	asked := k.asked
	k.mu.Unlock()
	a := asked
	if f.JobID != "" && f.JobID != a.JobID {
		a = job.Answer{JobID: f.JobID}
	}
	if f.Request != nil {
		a.Request = *f.Request.int()
	}
	a.Text, a.EOF = f.Text, f.EOF
	err := k.s.cfg.Service.GiveInput(ctx, k.caller, k.session, a)
	if err == nil || errors.Is(err, job.ErrNoInput) {
		k.answered(asked)
	}
	if err != nil {
		return k.refuse(ctx, id, err)
	}
	return nil
}

// answered forgets what the client was asked, unless that is something else by now.
func (k *socket) answered(asked job.Answer) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.asked == asked {
		k.asked = job.Answer{}
	}
}

// refuse reports to the client what is wrong with a frame.
func (k *socket) refuse(ctx context.Context, id string, err error) error {
	if ctx.Err() != nil {
		return errClientGone
	}
	p, unforeseen := problemOf(err)
	if unforeseen {
		k.log.ErrorContext(ctx, "frame failed", slog.Any("err", err))
	}
	return k.complain(id, p)
}

func (k *socket) complain(id string, p *Problem) error {
	k.s.cfg.Observer.Problem(p.Status, p.Code)
	frame := struct {
		FrameHead
		Code       string       `json:"code"`
		Detail     string       `json:"detail"`
		JobID      string       `json:"jobId,omitempty"`
		Reason     string       `json:"reason,omitempty"`
		RetryAfter float64      `json:"retryAfter,omitempty"` // seconds
		Errors     []FieldIssue `json:"errors,omitempty"`
	}{FrameHead{"error", id}, p.Code, p.Detail, p.JobID, p.Reason, p.retryAfter.Seconds(), nil}
	for _, issue := range p.Errors {
		issue.Location = strings.TrimPrefix(strings.TrimPrefix(issue.Location, "body"), ".")
		frame.Errors = append(frame.Errors, issue)
	}
	if len(frame.Errors) > 0 {
		frame.Detail = describe("", frame.Errors)
	}
	return k.send(frame)
}
