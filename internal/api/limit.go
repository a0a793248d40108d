package api

import (
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

// bytesHeld bounds what the bodies of all requests in flight take together: a
// thousand callers with a small body each are welcome, with 16 MiB each they are not.
type bytesHeld struct {
	most int64 // 0 is no limit

	mu   sync.Mutex
	held int64
}

func newBytesHeld(most int64) *bytesHeld { return &bytesHeld{most: most} }

func (b *bytesHeld) take(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.most > 0 && b.held+n > b.most {
		return false
	}
	b.held += n
	return true
}

func (b *bytesHeld) give(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held -= n
}

func (b *bytesHeld) inUse() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held
}

// share is what one request holds.
type share struct {
	of   *bytesHeld
	held int64
}

func (s *share) release() {
	s.of.give(s.held)
	s.held = 0
}

// sharedReader takes what it reads from the share, so that a body counts as much as
// has come of it and not as much as it claims to be.
type sharedReader struct {
	r     io.Reader
	share *share
}

func (s *sharedReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if n > 0 && !s.share.of.take(int64(n)) {
		return n, errNoMemory
	}
	s.share.held += int64(n)
	return n, err
}
