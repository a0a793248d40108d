package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
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
	base     string // the path below which callers find all that is at the root, too
}

// openFront is not for runners, which have no dialects: their binary does without the code of these.
func (s *shared) openFront(ctx context.Context) (*front, error) {
	dialects, err := chosenDialects(builtDialects(), s.cfg.Dialects)
	if err != nil {
		return nil, &configError{err}
	}
	s.dialects = append(dialects, s.dialects...)
	if err := free(s.cfg.BasePath, s.dialects); err != nil {
		return nil, &configError{err}
	}
	listener, err := listen(ctx, s.cfg.Addr, s.log)
	if err != nil {
		return nil, fmt.Errorf("listen on KAA_ADDR: %w", err)
	}
	others, err := s.listenLocally(ctx)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	f := &front{listener: listener, base: s.cfg.BasePath, served: make(chan error, 1+len(others))}
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
	for _, other := range others {
		go func() { f.served <- f.server.Serve(other) }()
	}
	return f, nil
}

// mostLocally bounds the connections of a further port.
const mostLocally = 1024

// listenLocally listens at the further ports.
func (s *shared) listenLocally(ctx context.Context) (all []net.Listener, err error) {
	for _, port := range s.cfg.LoopbackPorts {
		one, err := listen(ctx, net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))), s.log)
		if err != nil {
			for _, other := range all {
				err = errors.Join(err, other.Close())
			}
			return nil, fmt.Errorf("listen on KAA_LOOPBACK_PORTS: %w", err)
		}
		all = append(all, newConnections(one, mostLocally))
	}
	return all, nil
}

// answer makes h answer all requests from now on.
func (f *front) answer(h http.Handler) { f.handler.Store(&h) }

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	(*f.handler.Load()).ServeHTTP(w, atRoot(f.base, r))
}

// atRoot returns a request without the base path. One that comes without it stays as it is: a proxy may take the path away, and
// what probes this process does not know it.
func atRoot(base string, r *http.Request) *http.Request {
	if base == "" {
		return r
	}
	rest, ok := strings.CutPrefix(r.URL.Path, base)
	raw, rawOK := strings.CutPrefix(r.URL.RawPath, base)
	if !ok || rest != "" && rest[0] != '/' || r.URL.RawPath != "" && !rawOK {
		return r
	}
	other, u := *r, *r.URL
	u.Path, u.RawPath = cmp.Or(rest, "/"), raw
	other.URL = &u
	return &other
}

// free reports whether no dialect is at the base path.
func free(base string, dialects []Dialect) error {
	if base == "" {
		return nil
	}
	first, _, _ := strings.Cut(base[1:], "/")
	below := &http.Request{URL: &url.URL{Path: base + "/"}, Header: http.Header{}}
	for _, d := range dialects {
		if d.Name == first || d.Owns != nil && d.Owns(below) {
			return fmt.Errorf("KAA_BASE_PATH: %s is where the dialect %s is; choose another path, or leave the dialect out of KAA_DIALECTS", base, d.Name)
		}
	}
	return nil
}

// close ends the server at once, for a start that fails.
func (f *front) close() error { return f.server.Close() }
