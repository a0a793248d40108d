package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/kaa-run/kaa/internal/service"
)

// Probes answers as New's handler does what machines ask of a process that has no API: whether it
// lives, whether it is ready, and its metrics. It asks for no key. ready returns service.ErrStopping
// if the process is about to stop.
func Probes(ready func(context.Context) error, warnings func(context.Context) []string, metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, http.StatusOK, "application/json", healthy().Body)
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		switch err := ready(r.Context()); {
		case errors.Is(err, service.ErrStopping):
			answerProblem(w, aboutToStop())
			return
		case err != nil:
			p, _ := problemOf(fmt.Errorf("ready: %w", err))
			answerProblem(w, p)
			return
		}
		answerJSON(w, http.StatusOK, "application/json", readyWith(r.Context(), warnings).Body)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/metrics", "/healthz", "/readyz":
			w.Header().Set("Allow", "GET, HEAD")
			answerProblem(w, newProblem(http.StatusMethodNotAllowed, "method_not_allowed", "this path takes GET, HEAD"))
		default:
			answerProblem(w, newProblem(http.StatusNotFound, "no_such_route", "this is a runner, which has /healthz, /readyz and /metrics; the API listens elsewhere"))
		}
	})
	return mux
}

// Starting answers as long as a process cannot do more than say that it lives.
func Starting() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if r.URL.Path == "/healthz" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
			answerJSON(w, http.StatusOK, "application/json", healthy().Body)
			return
		}
		p, _ := problemOf(service.ErrStarting)
		answerProblem(w, p)
	})
}

func answerProblem(w http.ResponseWriter, p *Problem) {
	for name, values := range p.GetHeaders() {
		w.Header().Set(name, values[0])
	}
	answerJSON(w, p.Status, p.ContentType(""), p)
}

func answerJSON(w http.ResponseWriter, status int, contentType string, body any) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(body) // an error means that the caller has gone
}
