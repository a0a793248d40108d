package api

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// limited keeps callers to their rate. If the rate cannot be looked at, the request
// passes: whatever it needs Redis for will say so better.
func limited(rate func(context.Context, service.Caller) (job.Rate, error), log *slog.Logger) gin.HandlerFunc {
	return func(c *gin.Context) {
		if isPublic(c.Request.URL.Path) {
			return
		}
		ctx := c.Request.Context()
		r, err := rate(ctx, service.CallerOf(ctx))
		if err != nil {
			if ctx.Err() == nil {
				log.WarnContext(ctx, "rate was not looked up: the request passes", slog.Any("err", err))
			}
			return
		}
		if r.Limit > 0 {
			c.Header("RateLimit-Limit", strconv.Itoa(r.Limit))
			c.Header("RateLimit-Remaining", strconv.Itoa(r.Remaining))
			c.Header("RateLimit-Reset", strconv.Itoa(int((r.Reset+time.Second-1)/time.Second)))
		}
		if r.Allowed {
			return
		}
		abort(c, rateProblem(r))
	}
}

func rateProblem(r job.Rate) *Problem {
	p := newProblem(http.StatusTooManyRequests, "rate_limited", "this API key sends more requests than it may; send them more slowly")
	p.retryAfter = r.RetryAfter
	return p
}

// inFlight bounds the requests that are handled at once, and so the connections of each
// caller: of those that read or send slowly, too.
func inFlight(most int64, fair bool) gin.HandlerFunc {
	all := new(service.Shares)
	all.Fair(fair)
	return func(c *gin.Context) {
		if most == 0 || isProbe(c.Request.URL.Path) {
			return
		}
		caller := service.CallerOf(c.Request.Context()).ID()
		taken, limit, ok := all.Take(caller, 1, most)
		if !ok {
			abort(c, busyProblem(&service.BusyError{Of: service.ScarceRequests, InUse: taken, Limit: limit}))
			return
		}
		defer all.Give(caller, 1)
		c.Next()
	}
}

// releaseBody gives back what the body of a request holds: what has been recorded, or
// answered, is needed no more.
func releaseBody(ctx context.Context) {
	if b, ok := ctx.Value(bodyKey{}).(*body); ok {
		b.held.Release()
		b.text.Reset(nil)
	}
	if u, ok := ctx.Value(uploadsKey{}).(*uploads); ok {
		u.files = nil
	}
}
