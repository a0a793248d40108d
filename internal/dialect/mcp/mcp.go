// Package mcp speaks the Model Context Protocol over streamable HTTP: models run code in Kaa with tools. The official Go SDK
// does the protocol, in its stateless mode, so any API process answers any message. State between two messages is in
// sessions of Kaa, which the arguments of a tool name.
//
// The package adds what the stateless mode lacks: a message that cancels another one, the end of an execution whose caller goes
// away, comments that keep a silent stream open, and bounds that hold before the SDK decodes a message.
package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/service"
)

// Dialect answers the messages of clients. It implements door.Dialect.
type Dialect struct {
	dialect.Parts
	server  *sdk.Server
	handler http.Handler
	tools   map[string]bool

	mu      sync.Mutex
	running map[runningKey]context.CancelCauseFunc
}

// New returns the dialect of a process.
func New(p dialect.Parts) *Dialect {
	return NewOn(p, sdk.NewServer(
		&sdk.Implementation{Name: "kaa", Title: "Kaa", Version: p.Version},
		// Its tools never change, so nothing is announced about them.
		&sdk.ServerOptions{Instructions: instructions, Capabilities: &sdk.ServerCapabilities{Tools: &sdk.ToolCapabilities{}, Resources: &sdk.ResourceCapabilities{}}},
	))
}

// NewOn returns the dialect with its tools and resources on a server that may have others. Tests of the protocol bring them.
func NewOn(p dialect.Parts, server *sdk.Server) *Dialect {
	d := &Dialect{Parts: p, server: server, tools: map[string]bool{}, running: map[runningKey]context.CancelCauseFunc{}}
	d.addRunTools()
	d.addFileTools()
	d.addSessionTools()
	d.addResources()
	d.handler = sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return server }, &sdk.StreamableHTTPOptions{
		Stateless: true,
		// The door checks hosts and bounds bodies.
		DisableLocalhostProtection: true, MaxRequestBodyBytes: -1,
	})
	return d
}

// Key returns the API key of a request.
func (*Dialect) Key(r *http.Request) string {
	if key := dialect.Bearer(r); key != "" {
		return key
	}
	return r.Header.Get("X-API-Key")
}

// Public reports whether a request needs no key: clients ask for the identity provider before they have a token.
func (*Dialect) Public(r *http.Request) bool { return Owns(r) }

// Probe reports that no request is one.
func (*Dialect) Probe(*http.Request) bool { return false }

// Body takes JSON.
func (*Dialect) Body(*http.Request) service.Body { return service.BodyText }

// Refuse answers with an error of JSON-RPC. The id of the message is not known yet.
func (d *Dialect) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	f := dialect.FaultOf(r.Context(), d.Log, err)
	text := words(err)
	if errors.Is(err, service.ErrUnauthorized) {
		text = keyWords(err)
		w.Header().Set("WWW-Authenticate", d.challenge(r, err))
	}
	if text == "" {
		text = f.Message
	}
	f.SetRetryAfter(w.Header())
	answerError(w, f.Status, nil, rpcServerError, text)
}

// answerError answers with an error of JSON-RPC.
func answerError(w http.ResponseWriter, status int, id json.RawMessage, code int, text string) {
	if len(id) == 0 {
		id = json.RawMessage("null")
	}
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": id, "error": map[string]any{"code": code, "message": text}})
	if err != nil {
		http.Error(w, text, status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
