package door

import (
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/kaa-run/kaa/internal/service"
)

// inFlight bounds the requests that are handled at once, and so the connections of each
// caller: of those that read or send slowly, too.
func (in *entrance) inFlight(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	if in.cfg.MaxRequests == 0 || in.dialect.Probe(r) {
		next(w, r)
		return
	}
	caller := service.CallerOf(r.Context()).ID()
	taken, limit, ok := in.requests.Take(caller, 1, in.cfg.MaxRequests)
	if !ok {
		in.refuse(w, r, &service.BusyError{Of: service.ScarceRequests, InUse: taken, Limit: limit})
		return
	}
	defer in.requests.Give(caller, 1)
	next(w, r)
}

// limited keeps callers to their rate. If the rate cannot be looked at, the request
// passes: whatever it needs Redis for will say so better.
func (in *entrance) limited(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	if in.dialect.Public(r) {
		next(w, r)
		return
	}
	ctx := r.Context()
	rate, err := in.cfg.Service.Allow(ctx, service.CallerOf(ctx))
	if err != nil {
		if ctx.Err() == nil {
			in.cfg.Log.WarnContext(ctx, "rate was not looked up: the request passes", slog.Any("err", err))
		}
		next(w, r)
		return
	}
	if rate.Limit > 0 {
		header := w.Header()
		header.Set("RateLimit-Limit", strconv.Itoa(rate.Limit))
		header.Set("RateLimit-Remaining", strconv.Itoa(rate.Remaining))
		header.Set("RateLimit-Reset", strconv.Itoa(int((rate.Reset+time.Second-1)/time.Second)))
	}
	if !rate.Allowed {
		in.refuse(w, r, service.TooFast(rate))
		return
	}
	next(w, r)
}

// holding counts what a request holds of memory for large results, until it is answered.
func (in *entrance) holding(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	if in.cfg.Answers == nil {
		next(w, r)
		return
	}
	held := in.cfg.Answers.For(service.CallerOf(r.Context()).ID())
	defer held.Release()
	next(w, r.WithContext(held.In(r.Context())))
}
