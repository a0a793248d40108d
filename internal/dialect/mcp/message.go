package mcp

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"

	"github.com/kaa-run/kaa/internal/service"
)

// Codes of errors of JSON-RPC.
const (
	rpcParseError     = -32700
	rpcInvalidRequest = -32600
	rpcServerError    = -32000
)

// The methods that the dialect looks at itself.
const (
	methodCall      = "tools/call"
	methodInit      = "initialize"
	methodCancelled = "notifications/cancelled"
)

// connectionHeader has an id that a client gets with its initialization and sends with all later messages. It only keeps the
// requests of two clients with one key apart, whose ids are often equal. A client of the newer revision has none, and closes its
// connection to cancel a call.
const connectionHeader = "Mcp-Session-Id"

// envelope is what the dialect reads of a message before the SDK does.
type envelope struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
}

// errCancelled is the cause of the end of a call that a message cancelled.
var errCancelled = errors.New("the client cancelled the call")

// runningKey names a call that has not been answered.
type runningKey struct{ caller, connection, id string }

// carried travels to the handler of a tool, in whose context the SDK keeps values but not the end of the HTTP request.
type carried struct {
	request context.Context
	stream  *stream
	mu      sync.Mutex
	call    *service.Call // of the tool; nil until its handler has returned
}

type carriedKey struct{}

func (d *Dialect) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	call := service.CallOf(r.Context())
	if Owns(r) {
		d.describe(w, r)
		return
	}
	call.Route = "/"
	if r.URL.Path != "" && r.URL.Path != "/" {
		call.Route, call.Problem = "", "not_found"
		answerError(w, http.StatusNotFound, nil, rpcInvalidRequest, "there is nothing at this path; send messages to "+path)
		return
	}
	if r.Method != http.MethodPost {
		call.Problem = "method_not_allowed"
		d.handler.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		d.Refuse(w, r, err)
		return
	}
	m, refusal := read(body)
	if refusal != nil {
		call.Problem = "invalid_message"
		answerError(w, http.StatusBadRequest, m.ID, refusal.code, refusal.text)
		return
	}
	d.note(call, m)
	r.Body = io.NopCloser(bytes.NewReader(body))
	switch m.Method {
	case methodCancelled:
		if connection := r.Header.Get(connectionHeader); connection != "" {
			d.cancel(runningKey{call.Caller.ID(), connection, ""}, m)
		}
	case methodInit:
		w.Header().Set(connectionHeader, rand.Text())
	case methodCall:
		d.serveCall(w, r, m)
		return
	}
	d.handler.ServeHTTP(w, r.WithContext(apart(r.Context())))
}

// apart returns a context with a call of its own: only the goroutine that handles the request may write to that of the request,
// and the SDK handles messages in another one.
func apart(ctx context.Context) context.Context {
	call := service.CallOf(ctx)
	return service.WithCall(ctx, &service.Call{Caller: call.Caller, ActsFor: call.ActsFor, Prefix: call.Prefix})
}

// faulty says what is wrong with a message.
type faulty struct {
	code int
	text string
}

// read reads the envelope of a message.
func read(body []byte) (m envelope, refusal *faulty) {
	body = bytes.TrimSpace(body)
	switch {
	case len(body) == 0:
		return m, &faulty{rpcInvalidRequest, "the body is empty; send one JSON-RPC message"}
	case body[0] == '[':
		return m, &faulty{rpcInvalidRequest, "batches of messages are not supported; send each message by itself"}
	}
	// The SDK decodes recursively, and a stack that overflows ends the process.
	if err := service.CheckJSON(body); err != nil {
		return m, &faulty{rpcInvalidRequest, err.Error()}
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return envelope{}, &faulty{rpcParseError, "the body is not a JSON-RPC message: " + err.Error()}
	}
	return m, nil
}

// note enters a message into the call of its request. Only names that there are get into logs and metrics.
func (d *Dialect) note(call *service.Call, m envelope) {
	call.Executes = true // unless it changes something else, too
	switch m.Method {
	case methodCall:
		var params struct {
			Name string `json:"name"`
		}
		if json.Unmarshal(m.Params, &params) == nil && d.tools[params.Name] {
			call.Operation = params.Name
			call.Executes = !slices.Contains([]string{"write_file", "fork_session", "checkpoint_session", "rollback_session", "end_session"}, params.Name)
		}
	case methodInit, "server/discover", "ping", "tools/list", "resources/read", "resources/list", "resources/templates/list":
		call.Operation = m.Method
	}
}

// serveCall has a tool called. The call ends when its answer has gone out, when the client goes away, or when another message
// cancels it.
func (d *Dialect) serveCall(w http.ResponseWriter, r *http.Request, m envelope) {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	call := service.CallOf(ctx)
	key := runningKey{call.Caller.ID(), r.Header.Get(connectionHeader), string(m.ID)}
	d.mu.Lock()
	d.running[key] = cancel
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.running, key)
		d.mu.Unlock()
	}()
	c := &carried{request: ctx, stream: &stream{ResponseWriter: w, stopped: make(chan struct{})}}
	d.handler.ServeHTTP(c.stream, r.WithContext(apart(context.WithValue(ctx, carriedKey{}, c))))
	c.stream.stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.call != nil {
		call.JobID, call.SessionID, call.Problem = c.call.JobID, c.call.SessionID, c.call.Problem
	}
}

// cancel ends the call that a message names.
func (d *Dialect) cancel(key runningKey, m envelope) {
	var params struct {
		ID json.RawMessage `json:"requestId"`
	}
	if json.Unmarshal(m.Params, &params) != nil {
		return
	}
	key.id = string(params.ID)
	d.mu.Lock()
	cancel := d.running[key]
	d.mu.Unlock()
	if cancel != nil {
		cancel(errCancelled)
	}
}
