package app

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/kaa-run/kaa/internal/api"
)

// front is the HTTP server of an API process. It listens before the other parts exist, and answers
// that the process lives. The API answers once it is made.
type front struct {
	listener net.Listener
	server   *http.Server
	served   chan error
	handler  atomic.Pointer[http.Handler]
}

// openFront is not for runners, which have no dialects: their binary does without the code of these.
func (s *shared) openFront(ctx context.Context) (*front, error) {
	dialects, err := chosenDialects(builtDialects(), s.cfg.Dialects)
	if err != nil {
		return nil, &configError{err}
	}
	s.dialects = append(dialects, s.dialects...)
	listener, err := listen(ctx, s.cfg.Addr, s.log)
	if err != nil {
		return nil, fmt.Errorf("listen on KAA_ADDR: %w", err)
	}
	f := &front{listener: listener, served: make(chan error, 1)}
	f.answer(api.Starting())
	conns := newConnections(listener, maxConnections(&s.cfg))
	f.server = &http.Server{
		Handler: f,
		// No ReadTimeout and no WriteTimeout: a synchronous call may last an hour.
		// The api package bounds the reading of bodies itself.
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    mostHeader,
		ConnState:         conns.changed,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	go func() { f.served <- f.server.Serve(conns) }()
	return f, nil
}

// answer makes h answer all requests from now on.
func (f *front) answer(h http.Handler) { f.handler.Store(&h) }

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	(*f.handler.Load()).ServeHTTP(w, r)
}

// close ends the server at once, for a start that fails.
func (f *front) close() error { return f.server.Close() }
