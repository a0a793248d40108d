package client

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"time"
)

const (
	// byDefault is how long a call waits in all to be sent again.
	byDefault = time.Minute
	// spread is the share of a pause by which it may be longer, so that callers who were refused together do not come back together.
	spread = 10
)

// retryAfter returns the pause after which a refused request may be sent again. again is false if it may not be: the Kaa has not asked for
// it, its code may have begun, or its body cannot be read twice.
func retryAfter(req *http.Request, res *http.Response, problem *ProblemError) (pause time.Duration, again bool) {
	if res.StatusCode != http.StatusTooManyRequests && res.StatusCode != http.StatusServiceUnavailable {
		return 0, false
	}
	if req.Body != nil && req.GetBody == nil {
		return 0, false
	}
	if mayHaveRun(problem.Code) || problem.Code == "unavailable" && !repeatable(req) {
		return 0, false
	}
	seconds, err := strconv.ParseFloat(problem.RetryAfter, 64)
	if err != nil || seconds < 0 || seconds > time.Hour.Seconds() {
		return 0, false
	}
	return time.Duration(seconds * float64(time.Second)), true
}

// mayHaveRun reports whether code of a request that was refused so may have run in part.
func mayHaveRun(code string) bool {
	return slices.Contains([]string{"drained", "worker_failed", "result_not_kept"}, code)
}

// repeatable reports whether a second request does no harm after one that was perhaps carried out.
func repeatable(req *http.Request) bool {
	return req.Method == http.MethodGet || req.Method == http.MethodHead || req.Header.Get("Idempotency-Key") != ""
}

// resend waits, and returns the request with its body from the beginning. The end of the request's context ends the wait.
func resend(req *http.Request, pause time.Duration) (*http.Request, error) {
	if most := int64(pause) / spread; most > 0 {
		pause += time.Duration(rand.Int64N(most)) //nolint:gosec // it is no secret
	}
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-req.Context().Done():
		return nil, req.Context().Err()
	case <-t.C:
	}
	again := req.Clone(req.Context())
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return nil, err //nolint:wrapcheck // of the caller's body
		}
		again.Body = body
	}
	return again, nil
}
