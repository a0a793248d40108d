package door

import (
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"

	"github.com/kaa-run/kaa/internal/service"
)

// errPanic: a handler has panicked, which has been logged.
var errPanic = errors.New("panic in handler")

// recovered turns a panic into a logged refusal.
func (in *entrance) recovered(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(v) // net/http's own way to drop a connection
		}
		in.cfg.Log.ErrorContext(r.Context(), "panic in handler", slog.Any("panic", v),
			slog.String("route", routeOf(service.CallOf(r.Context()))), slog.String("stack", string(debug.Stack())))
		if a, ok := w.(interface{ Written() bool }); !ok || !a.Written() {
			in.refuse(w, r, errPanic)
		}
	}()
	next(w, r)
}
