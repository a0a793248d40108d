// Package api is Kaa's own dialect of the service: JSON over HTTP, server-sent events and
// WebSockets. Gin routes, huma types the operations and writes the OpenAPI. No other package
// knows either.
//
// The app builds one API per process with New and mounts it behind the door. It owns no
// connection and no goroutine. Every error becomes an RFC 9457 problem in one place, problemOf.
package api

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"
)

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
	s.api = huma.NewAPI(openAPI(cfg.Version, cfg.BasePath), &adapter{Handler: engine, engine: engine})
	s.registerJobs()
	s.registerBatches()
	s.registerBatchResults()
	s.registerBatchEvents()
	s.registerSessions()
	s.registerCommands()
	s.registerSessionFiles()
	s.registerSessionFS()
	s.registerSessionWatch()
	s.registerForks()
	s.registerContexts()
	s.registerSessionPackages()
	s.registerEvents()
	s.registerSocket(engine)
	s.registerCommandSocket(engine)
	s.registerPorts(engine)
	s.registerPortLinks()
	s.registerFiles()
	s.registerRecords()
	s.registerCalls()
	s.registerKeys()
	s.registerSchedules()
	s.registerEnvironments()
	s.registerUsage()
	s.registerOperations()
	s.registerBulk()
	s.registerFleet()
	engine.GET("/metrics", gin.WrapH(cfg.Metrics))
	engine.GET("/docs", docsPage(s.api.OpenAPI()))
	s.registerRoot(engine)
	return &API{engine, s}
}

// batchesAtOnce is one for each two processors, or fewer if Go uses fewer: the limit of a
// cgroup is in its number alone, and a process with interpreters keeps Go to half of them.
func batchesAtOnce(processors, goUses int) int {
	return max(1, min(processors/2, goUses))
}

func openAPI(version, base string) huma.Config {
	c := huma.DefaultConfig("Kaa", version)
	c.Info.Description = "Runs Python you don't trust: synchronously, or as jobs on queues."
	c.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	if base != "" {
		c.Servers = []*huma.Server{{URL: base}}
	}
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
