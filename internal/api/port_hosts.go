package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/sandboxport"
	"github.com/kaa-run/kaa/internal/service"
)

// trafficHeader brings the ticket of a sandbox of E2B, whose clients send it to host names of ports.
const trafficHeader = "E2b-Traffic-Access-Token"

// PortHosts is the dialect of host names of which each is a port of a session. A signed name proves who calls; other names need a key as Kaa's own API does,
// or the ticket of a sandbox of E2B.
type PortHosts struct {
	*API
	s *server
}

// Ports returns the dialect of the host names of ports.
func (a *API) Ports() *PortHosts { return &PortHosts{a, a.server} }

// Owns reports whether a request is for a host name of a port.
func (h *PortHosts) Owns(r *http.Request) bool {
	_, ok := h.s.cfg.Ports.Label(r.Host)
	return ok
}

func (h *PortHosts) address(r *http.Request) (sandboxport.Address, error) {
	label, _ := h.s.cfg.Ports.Label(r.Host)
	return sandboxport.ReadLabel(label)
}

// Public reports that no request is.
func (*PortHosts) Public(*http.Request) bool { return false }

// Probe reports that no request is one.
func (*PortHosts) Probe(*http.Request) bool { return false }

// Body passes all bodies on.
func (*PortHosts) Body(*http.Request) service.Body { return service.BodyPassed }

// Ticket returns the ticket of a sandbox of E2B.
func (h *PortHosts) Ticket(r *http.Request) (ticket, thing string) {
	ticket = r.Header.Get(trafficHeader)
	a, err := h.address(r)
	if ticket == "" || err != nil || a.IsSigned() || h.s.cfg.TrafficThing == nil {
		return "", ""
	}
	return ticket, h.s.cfg.TrafficThing(a.Session)
}

// Signature returns what a signed host name proves.
func (h *PortHosts) Signature(r *http.Request) (holder, thing string, check func(ticket string) bool) {
	a, err := h.address(r)
	if err != nil || !a.IsSigned() {
		return "", "", nil
	}
	holder, check = a.Signature()
	return holder, sandboxport.Thing(a.Session, a.Port), check
}

// ServeHTTP passes a request on to the port that its host name is of.
func (h *PortHosts) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	call := service.CallOf(ctx)
	call.Operation, call.Executes, call.Route = portOperation, true, "ports"
	a, err := h.address(r)
	if err == nil {
		call.SessionID = a.Session
		err = h.s.cfg.Service.CheckLive(ctx, service.CallerOf(ctx), a.Session)
	}
	if err != nil {
		h.s.failPort(ctx, w, err)
		return
	}
	path := r.URL.EscapedPath()
	if u, err := url.ParseRequestURI(r.RequestURI); err == nil {
		path = u.EscapedPath() // a base path is only at the host name of the API
	}
	request := sandboxport.Request{
		Port: sandboxport.Port{Service: h.s.cfg.Service, Session: a.Session, Number: a.Port}, Path: path,
		Host: r.Host, Signed: a.IsSigned(), Secrets: []string{trafficHeader}, SecretProtocol: keyProtocol,
		Fail: func(w http.ResponseWriter, _ *http.Request, err error) { h.s.failPort(ctx, w, err) },
	}
	request.Serve(w, r)
}

// failPort answers a request to a port that has no answer.
func (s *server) failPort(ctx context.Context, w http.ResponseWriter, err error) {
	p, unforeseen := problemOf(err)
	if unforeseen {
		s.cfg.Log.ErrorContext(ctx, "request to a port failed", slog.Any("err", err))
	}
	answeredWith(ctx, p)
	answerProblem(w, p)
}

type portInput struct {
	ID   string `path:"id" doc:"Id of the session."`
	Port string `path:"port" doc:"Port of the server, from 1 to 65535."`
}

type portOutput struct{ Body portLink }

// portLink is where a port is reached.
type portLink struct {
	Port int    `json:"port" doc:"The port."`
	Path string `json:"path" doc:"Path of this Kaa below which the port is reached, with a key."`
	URL  string `json:"url,omitempty" doc:"Address with a host name of its own, where the operator has set KAA_PORTS_HOST. With a key of Kaa it is signed: its holder may call the server, as long as the session lives and the key is valid."`
}

// getPort returns the addresses of a port.
func (s *server) getPort(ctx context.Context, in *portInput) (*portOutput, error) {
	caller := service.CallerOf(ctx)
	if err := s.cfg.Service.CheckLive(ctx, caller, in.ID); err != nil {
		return nil, err
	}
	number, err := sandboxport.Number(in.Port)
	if err != nil {
		return nil, badRequest("path.port: "+err.Error(), FieldIssue{"path.port", err.Error()})
	}
	link := portLink{Port: number, Path: below(ctx, sessionLocation) + in.ID + "/ports/" + in.Port + "/"}
	if !s.cfg.Ports.None() {
		link.URL = s.cfg.Ports.URL(in.ID, number, s.cfg.Service.TicketFor(caller, sandboxport.Thing(in.ID, number)))
	}
	return &portOutput{link}, nil
}

func (s *server) registerPortLinks() {
	register(s, huma.Operation{
		OperationID: "getPort", Method: http.MethodGet, Path: "/v1/sessions/{id}/ports/{port}", Tags: []string{sessionsTag},
		Summary:     "Addresses of a port of a session",
		Description: "The path below which a server of the session is reached, and its address with a host name of its own, for browsers. Nothing needs to listen there yet.",
		Errors:      []int{400, 401, 403, 404, 410, 429, 503},
	}, s.getPort)
}

// labelProblem words what is wrong with a host name.
func labelProblem(err error) *Problem {
	if errors.Is(err, sandboxport.ErrLabel) || errors.Is(err, sandboxport.ErrProxyPort) {
		return newProblem(http.StatusNotFound, "no_such_route", err.Error())
	}
	return nil
}
