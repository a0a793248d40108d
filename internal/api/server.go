// Package api is Kaa's own dialect of the service: JSON over HTTP, server-sent events and
// WebSockets. Gin routes, huma types the operations and writes the OpenAPI. No other package
// knows either.
//
// The app builds one API per process with New and mounts it behind the door. It owns no
// connection and no goroutine. Every error becomes an RFC 9457 problem in one place, problemOf.
package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"

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
	Log      *slog.Logger

	MaxFrameBytes int64         // of a socket's frame
	FrameTimeout  time.Duration // how long a frame may take to come; 30 s
	// SlowestWrite is how long the reader of a stream may take nothing before its connection
	// is closed; 30 s.
	SlowestWrite time.Duration
	// PingEvery is how often the clients of sockets are asked whether they are there; 15 s.
	PingEvery time.Duration
	Version   string
}

type server struct {
	cfg Config
	api huma.API
	// jobSchema validates the items of a batch.
	jobSchema *huma.Schema
	batches   chan struct{}           // has room for those that may be worked on at once
	frames    map[string]*huma.Schema // of a socket's clients, by type
}

// setUpHuma makes huma word its errors as ours and distinguish "Code" from "code". huma
// offers only package variables for these.
var setUpHuma = sync.OnceFunc(func() { //nolint:gochecknoglobals // see above
	huma.NewError = newHumaError
	huma.NewErrorWithContext = func(ctx huma.Context, status int, msg string, errs ...error) huma.StatusError {
		err := humaError(hintsOf(ctx.Operation()), status, msg, errs)
		if p, ok := errors.AsType[*Problem](err); ok {
			answeredWith(ctx.Context(), p)
		}
		return err
	}
	huma.ValidateStrictCasing = true
})

// New returns the dialect. The door in front of it has checked the caller.
func New(cfg Config) *API {
	setUpHuma()
	if cfg.FrameTimeout == 0 {
		cfg.FrameTimeout = 30 * time.Second
	}
	if cfg.PingEvery == 0 {
		cfg.PingEvery = keepAlive
	}
	if cfg.SlowestWrite == 0 {
		cfg.SlowestWrite = 30 * time.Second
	}
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.HandleMethodNotAllowed = true
	engine.RedirectTrailingSlash = false // a redirected POST surprises; the 404 says what to do
	engine.Use(noted, bounded, streamed, unpacked(cfg.Service.Limits().MaxInputs))
	engine.NoRoute(func(c *gin.Context) {
		abort(c, newProblem(http.StatusNotFound, "no_such_route", "there is nothing at this path; GET /docs lists the API"))
	})
	engine.NoMethod(func(c *gin.Context) {
		abort(c, newProblem(http.StatusMethodNotAllowed, "method_not_allowed",
			fmt.Sprintf("this path takes %s", c.Writer.Header().Get("Allow"))))
	})

	s := &server{cfg: cfg, batches: make(chan struct{}, batchesAtOnce(runtime.NumCPU(), runtime.GOMAXPROCS(0)))}
	s.api = huma.NewAPI(openAPI(cfg.Version), &adapter{Handler: engine, engine: engine})
	s.registerJobs()
	s.registerSessions()
	s.registerEvents()
	s.registerSocket(engine)
	s.registerFiles()
	s.registerRecords()
	s.registerKeys()
	s.registerFleet()
	engine.GET("/metrics", gin.WrapH(cfg.Metrics))
	engine.GET("/docs", docsPage(s.api.OpenAPI()))
	engine.GET("/", func(c *gin.Context) { c.Redirect(http.StatusFound, "/docs") })
	return &API{engine}
}

// batchesAtOnce is one for each two processors, or fewer if Go uses fewer: the limit of a
// cgroup is in its number alone, and a process with interpreters keeps Go to half of them.
func batchesAtOnce(processors, goUses int) int {
	return max(1, min(processors/2, goUses))
}

func openAPI(version string) huma.Config {
	c := huma.DefaultConfig("Kaa", version)
	c.Info.Description = "Runs Python you don't trust: synchronously, or as jobs on queues."
	c.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	c.DocsPath = "" // ours works offline
	c.SchemasPath = ""
	c.CreateHooks = nil // no $schema in answers
	c.Formats = maps.Clone(c.Formats)
	for name, format := range c.Formats {
		format.Marshal, format.Unmarshal = marshal, unmarshal
		c.Formats[name] = format
	}
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer": {Type: "http", Scheme: "bearer"},
		"apiKey": {Type: "apiKey", In: "header", Name: "X-API-Key"},
	}
	c.Security = []map[string][]string{{"bearer": {}}, {"apiKey": {}}, {}}
	return c
}

// register adds an operation whose errors are answered by problemOf.
func register[I, O any](s *server, op huma.Operation, handle func(context.Context, *I) (*O, error)) {
	// The middleware has read the body, with a bound and a deadline.
	op.MaxBodyBytes, op.BodyReadTimeout = -1, -1
	op.RejectUnknownQueryParameters = true
	op.Metadata = map[string]any{schemasKey: s.api.OpenAPI().Components.Schemas}
	if op.Method != http.MethodGet && op.OperationID != idempotentOperation {
		op.Middlewares = append(op.Middlewares, s.refuseIdempotency)
	}
	op.Errors = append(slices.Clip(op.Errors), http.StatusRequestHeaderFieldsTooLarge)
	// A key may lack the scope, and a page of another site may not change anything.
	if op.Method != http.MethodGet || slices.Contains(op.Errors, http.StatusUnauthorized) {
		op.Errors = append(op.Errors, http.StatusForbidden)
	}
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := handle(ctx, in)
		if err == nil {
			return out, nil
		}
		p, unforeseen := problemOf(err)
		if unforeseen {
			s.cfg.Log.ErrorContext(ctx, "request failed", slog.String("operation", op.OperationID), slog.Any("err", err))
		}
		answeredWith(ctx, p)
		return nil, p
	})
	// huma documents its own status for mistakes in a request; ours is 400.
	for _, documented := range operationsOf(s.api.OpenAPI().Paths[op.Path]) {
		delete(documented.Responses, strconv.Itoa(http.StatusUnprocessableEntity))
	}
}

// operationsOf lists what can be done at a path, by method.
func operationsOf(item *huma.PathItem) map[string]*huma.Operation {
	all := map[string]*huma.Operation{http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put, http.MethodDelete: item.Delete}
	maps.DeleteFunc(all, func(_ string, op *huma.Operation) bool { return op == nil })
	return all
}
