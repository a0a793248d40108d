package api

import (
	"errors"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"

	"github.com/kaa-run/kaa/internal/sandboxport"
	"github.com/kaa-run/kaa/internal/service"
)

const portOperation = "callPort"

// isPort reports whether a request is for a server in a session. Its body passes through as it is.
func isPort(r *http.Request) bool {
	id, rest, ok := sessionOf(r.URL.Path)
	return ok && id != "" && strings.HasPrefix(rest, "ports/") && strings.Count(rest, "/") > 1
}

// servePort passes a request on to a port of a session, and the answer back.
func (s *server) servePort(c *gin.Context) {
	ctx := c.Request.Context()
	call := service.CallOf(ctx)
	call.Operation, call.Executes = portOperation, true
	fail := func(w http.ResponseWriter, err error) { s.failPort(ctx, w, err) }
	if err := s.cfg.Service.CheckLive(ctx, service.CallerOf(ctx), c.Param("id")); err != nil {
		fail(c.Writer, err)
		return
	}
	number, err := sandboxport.Number(c.Param("port"))
	if err != nil {
		fail(c.Writer, badRequest("path.port: "+err.Error(), FieldIssue{"path.port", err.Error()}))
		return
	}
	at := below(ctx, sessionLocation) + c.Param("id") + "/ports/" + strconv.Itoa(number)
	request := sandboxport.Request{
		Port: sandboxport.Port{Service: s.cfg.Service, Session: c.Param("id"), Number: number}, Path: pathBehind(c.Request.URL.EscapedPath()),
		Below: at, Prefix: at, SecretProtocol: keyProtocol,
		Fail: func(w http.ResponseWriter, _ *http.Request, err error) { fail(w, err) },
	}
	request.Serve(c.Writer, c.Request)
}

// pathBehind is the path at the server, as the request has written it: what is behind /v1/sessions/{id}/ports/{port}.
func pathBehind(escaped string) string {
	const segments = 7 // the first is empty
	parts := strings.SplitN(escaped, "/", segments)
	return "/" + parts[len(parts)-1]
}

// portProblem words why a port of a session does not answer.
func portProblem(err error) *Problem {
	closed := (*sandboxport.ClosedError)(nil)
	switch {
	case errors.As(err, &closed):
		return newProblem(http.StatusBadGateway, "port_closed", err.Error()+". Start a server there, on 127.0.0.1 or on all addresses")
	case errors.Is(err, sandboxport.ErrNoHTTP):
		return newProblem(http.StatusBadGateway, "port_failed", err.Error()+": it closed the connection, or its answer is none, or has a header of more than 64 KiB")
	case errors.Is(err, sandboxport.ErrSilent):
		return newProblem(http.StatusGatewayTimeout, "port_silent", "the server in the session has not answered: "+err.Error())
	case labelProblem(err) != nil:
		return labelProblem(err)
	case errors.Is(err, sandboxport.ErrUpgrade):
		return badRequest("header.Upgrade: "+err.Error(), FieldIssue{"header.Upgrade", err.Error()})
	}
	return nil
}

// registerPorts adds the way to servers that code has started in sessions. OpenAPI has one operation of it: any method, path and body pass.
func (s *server) registerPorts(engine *gin.Engine) {
	engine.Any("/v1/sessions/:id/ports/:port/*path", s.servePort)
	responses := map[string]*huma.Response{"default": {Description: "The answer of the server, with its status, its body and most of its header."}}
	for _, status := range []int{400, 401, 403, 404, 409, 410, 421, 429, 502, 503, 504} {
		responses[strconv.Itoa(status)] = &huma.Response{Description: http.StatusText(status), Content: map[string]*huma.MediaType{
			"application/problem+json": {Schema: s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "")},
		}}
	}
	param := func(name, description, kind string) *huma.Param {
		return &huma.Param{Name: name, In: "path", Required: true, Description: description, Schema: &huma.Schema{Type: kind}}
	}
	s.api.OpenAPI().AddOperation(&huma.Operation{
		OperationID: portOperation, Method: http.MethodGet, Path: "/v1/sessions/{id}/ports/{port}/{path}", Tags: []string{sessionsTag},
		Summary: "Call a server in the session",
		Description: "Passes the request on to a server of HTTP that listens on a port of the sandbox, and streams its answer. Any method, path, query and body pass, and WebSockets. " +
			"The key, cookies and forwarding headers do not reach the server.",
		Parameters: []*huma.Param{
			param("id", "Id of the session.", huma.TypeString), param("port", "Port of the server, from 1 to 65535.", huma.TypeInteger),
			param("path", "Path at the server, with slashes, and perhaps empty.", huma.TypeString), tenantParameter(),
		},
		Responses: responses,
	})
}
