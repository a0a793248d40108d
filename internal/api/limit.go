package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/kaa-run/kaa/internal/job"
)

// limited keeps callers to their rate. If the rate cannot be looked at, the request
// passes: whatever it needs Redis for will say so better.
func limited(rate func(context.Context, string) (job.Rate, error), log *slog.Logger) gin.HandlerFunc {
	return func(c *gin.Context) {
		if rate == nil || isPublic(c.Request.URL.Path) {
			return
		}
		ctx := c.Request.Context()
		r, err := rate(ctx, shortCaller(ctx))
		if err != nil {
			if ctx.Err() == nil {
				log.WarnContext(ctx, "rate was not looked up: the request passes", slog.Any("err", err))
			}
			return
		}
		c.Header("RateLimit-Limit", strconv.Itoa(r.Limit))
		c.Header("RateLimit-Remaining", strconv.Itoa(r.Remaining))
		c.Header("RateLimit-Reset", strconv.Itoa(int((r.Reset+time.Second-1)/time.Second)))
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

// errNoMemory: the bodies that are held leave no room for another.
var errNoMemory = errors.New("no memory for another body")

// shared is something of which there is so much and no more, and of which each caller takes a
// part. If it is fair, nobody gets more who has more than is left then: one caller alone gets half
// of it, another half of the rest. So whoever comes finds some.
type shared struct {
	mu   sync.Mutex
	fair bool
	used int64
	of   map[string]int64 // by caller, if it is fair
}

// take takes n for a caller, of most; 0 is no limit. If there is not as much, it returns what
// is taken by whom the limit is for, and the limit.
func (s *shared) take(caller string, n, most int64) (taken, limit int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if most > 0 {
		if s.used+n > most {
			return s.used, most, false
		}
		if own := s.of[caller]; s.fair && own+n-1 > most-s.used-n {
			return own, max(own, (most-s.used+own)/2), false
		}
	}
	s.used += n
	if s.fair {
		if s.of == nil {
			s.of = make(map[string]int64)
		}
		s.of[caller] += n
	}
	return 0, 0, true
}

func (s *shared) give(caller string, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used -= n
	if own := s.of[caller]; own > n {
		s.of[caller] = own - n
	} else {
		delete(s.of, caller)
	}
}

func (s *shared) inUse() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

func (s *shared) setFair(fair bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fair = fair
}

// inFlight bounds the requests that are handled at once, and so the connections of each
// caller: of those that read or send slowly, too.
func inFlight(most int64, fair bool) gin.HandlerFunc {
	all := &shared{fair: fair}
	return func(c *gin.Context) {
		if most == 0 || isProbe(c.Request.URL.Path) {
			return
		}
		caller := shortCaller(c.Request.Context())
		taken, limit, ok := all.take(caller, 1, most)
		if !ok {
			abort(c, tooMuch("too_many_requests", "as many requests are under way as may be; wait until some of yours have ended", taken, limit, time.Second))
			return
		}
		defer all.give(caller, 1)
		c.Next()
	}
}

// held is what one request, or one frame of a socket, holds in memory: a body.
type held struct {
	of     *shared
	caller string
	most   int64
	body   bytes.Reader
	n      int64

	taken, limit int64 // why there is no more
}

// heldKey is the context key of what a request holds.
type heldKey struct{}

// release gives the memory back: what has been recorded, or answered, is needed no more.
func (h *held) release() {
	h.of.give(h.caller, h.n)
	h.n = 0
	h.body.Reset(nil)
}

// releaseBody releases what the request of a context holds. Callers may wait for an hour from
// there on.
func releaseBody(ctx context.Context) {
	if h, ok := ctx.Value(heldKey{}).(*held); ok {
		h.release()
	}
	if u, ok := ctx.Value(uploadsKey{}).(*uploads); ok {
		u.files = nil
	}
}

// reader counts what it reads, so that a body counts as much as has come of it and not as much
// as it claims to be.
func (h *held) reader(r io.Reader) io.Reader { return heldReader{r, h} }

type heldReader struct {
	r io.Reader
	h *held
}

func (r heldReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if n == 0 {
		return n, err
	}
	taken, limit, ok := r.h.of.take(r.h.caller, int64(n), r.h.most)
	if !ok {
		r.h.taken, r.h.limit = taken, limit
		return n, errNoMemory
	}
	r.h.n += int64(n)
	return n, err
}

// problem words errNoMemory.
func (h *held) problem() *Problem {
	return tooMuch("too_many_bytes", "the process holds as many bytes of requests as it may, or as this API key may while others want some; try again",
		h.taken, h.limit, time.Second)
}
