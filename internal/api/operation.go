package api

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/sandboxport"
	"github.com/kaa-run/kaa/internal/service"
)

// Observer counts what was answered with a problem though its request was not: items of
// batches, frames of sockets, and streams that broke off.
type Observer interface {
	Problem(status int, code string)
}

// Config are the parts and bounds of the dialect.
type Config struct {
	Service *service.Service
	// Warnings lists faults of a Redis that works; nil if they are not looked for.
	Warnings func(ctx context.Context) []string
	Observer Observer
	Metrics  http.Handler
	// Console answers browsers at / and below /console/; nil if there is none.
	Console http.Handler
	// BasePath is what the addresses of the API begin with for callers; empty for nothing.
	BasePath string
	Log      *slog.Logger

	MaxFrameBytes int64         // of a socket's frame
	FrameTimeout  time.Duration // for which nothing of a frame may come; 30 s
	// SlowestWrite is how long the reader of a stream may take nothing before its connection
	// is closed; 30 s.
	SlowestWrite time.Duration
	// PingEvery is how often the clients of sockets are asked whether they are there; 15 s.
	PingEvery time.Duration
	Version   string
	// Ports are the host names of ports of sessions.
	Ports sandboxport.Hosts
	// TrafficThing names a session in the tickets of E2B's sandboxes, which their clients send to the host names of its ports; nil if there are none.
	TrafficThing func(session string) string
}

type server struct {
	cfg Config
	api huma.API
	// jobSchema validates the items of a batch.
	jobSchema *huma.Schema
	// lineSchema and headerSchema validate the lines of a batch.
	lineSchema, headerSchema *huma.Schema
	batches                  chan struct{}           // has room for those that may be worked on at once
	frames                   map[string]*huma.Schema // of a socket's clients, by type
	commandFrames            map[string]*huma.Schema // the same for sockets of commands
}

// register adds an operation whose errors are answered by problemOf.
func register[I, O any](s *server, op huma.Operation, handle func(context.Context, *I) (*O, error)) {
	s.add(&op, reflect.TypeFor[I](), reflect.TypeFor[O](), func(ctx context.Context, in any) (any, error) { return handle(ctx, in.(*I)) })
}

// add is what of register needs no types. The compiler translates a generic function for each of a hundred operations
// anew. So it would huma.Register, which reads requests and writes answers in it: 2 MB of the binary.
func (s *server) add(op *huma.Operation, in, out reflect.Type, handle func(context.Context, any) (any, error)) {
	schemas := s.api.OpenAPI().Components.Schemas
	op.Metadata = map[string]any{schemasKey: schemas}
	op.Middlewares = append(op.Middlewares, func(ctx huma.Context, next func(huma.Context)) {
		call := service.CallOf(ctx.Context())
		call.Operation, call.Executes = op.OperationID, slices.Contains(executing(), op.OperationID)
		next(ctx)
	})
	if op.Method != http.MethodGet && !slices.Contains([]string{idempotentOperation, submitBatchOperation, rerunBatchOperation, rerunJobOperation}, op.OperationID) {
		op.Middlewares = append(op.Middlewares, s.refuseIdempotency)
	}
	if op.Method != http.MethodGet && slices.Contains(op.Tags, filesTag) {
		op.Middlewares = append(op.Middlewares, s.refuseConditions)
	}
	op.Errors = append(slices.Clip(op.Errors), http.StatusMisdirectedRequest, http.StatusRequestHeaderFieldsTooLarge)
	if slices.Contains(op.Errors, http.StatusBadGateway) { // a runner performs it, which may fail in each of the ways of endProblem
		op.Errors = append(op.Errors, http.StatusConflict, http.StatusInsufficientStorage)
	}
	if slices.Contains(op.Errors, http.StatusUnauthorized) {
		op.Parameters = append(op.Parameters, tenantParameter())
		if !slices.Contains(op.Errors, http.StatusBadRequest) { // no tenant can have that name
			op.Errors = append(op.Errors, http.StatusBadRequest)
		}
	}
	// A key may lack the scope, and a page of another site may not change anything.
	if op.Method != http.MethodGet || slices.Contains(op.Errors, http.StatusUnauthorized) {
		op.Errors = append(op.Errors, http.StatusForbidden)
	}
	input, output := inputOf(op, schemas, in), outputOf(op, schemas, out)
	documentErrors(op, schemas)
	s.api.OpenAPI().AddOperation(op)
	s.api.Adapter().Handle(op, s.api.Middlewares().Handler(op.Middlewares.Handler(func(ctx huma.Context) {
		into := reflect.New(in)
		if !input.read(s.api, ctx, into.Elem()) {
			return
		}
		returned, err := handle(ctx.Context(), into.Interface())
		if err == nil {
			output.write(s.api, ctx, reflect.ValueOf(returned))
			return
		}
		p, unforeseen := problemOf(service.OfKey(ctx.Context(), err))
		if unforeseen {
			s.cfg.Log.ErrorContext(ctx.Context(), "request failed", slog.String("operation", op.OperationID), slog.Any("err", err))
		}
		answeredWith(ctx.Context(), p)
		writeProblem(s.api, ctx, p)
	})))
}

// executing are the operations that have code executed.
func executing() []string {
	return []string{"execute", "submitJob", "submitJobs", rerunJobOperation, submitBatchOperation, appendBatchOperation, rerunBatchOperation}
}

// tenantParameter is the header by which an operator acts for a tenant. The door reads it.
func tenantParameter() *huma.Param {
	most := 64
	return &huma.Param{
		Name: "Kaa-Tenant", In: "header", Description: "Tenant for which a key with the scope admin acts: the call is one of that tenant's. Other keys may not send it.",
		Schema: &huma.Schema{Type: huma.TypeString, MaxLength: &most, Pattern: "^[A-Za-z0-9._-]+$"}, Example: "acme",
	}
}

// idempotentOperation is the one that an Idempotency-Key is for.
const idempotentOperation = "submitJob"

// refuseIdempotency refuses a header that would otherwise be silently ignored: a caller
// who repeats the request would believe that it has one effect only.
func (s *server) refuseIdempotency(ctx huma.Context, next func(huma.Context)) {
	if ctx.Header("Idempotency-Key") == "" {
		next(ctx)
		return
	}
	const location = "header.Idempotency-Key"
	const message = "is not for this call; it works with POST /v1/jobs, one job at a time, POST /v1/batches, and POST /v1/batches/{id}/rerun and /v1/jobs/{id}/rerun"
	_ = huma.WriteErr(s.api, ctx, http.StatusBadRequest, "", &huma.ErrorDetail{Location: location, Message: message})
}

// operationsOf lists what can be done at a path, by method.
func operationsOf(item *huma.PathItem) map[string]*huma.Operation {
	all := map[string]*huma.Operation{http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put, http.MethodPatch: item.Patch, http.MethodDelete: item.Delete}
	maps.DeleteFunc(all, func(_ string, op *huma.Operation) bool { return op == nil })
	return all
}
