package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"syscall"
)

// ProblemError is the refusal of a call. Code names it for programs, and Detail says what to change.
type ProblemError struct {
	Problem
	// RetryAfter is the header of that name: the seconds after which the call may be sent again.
	RetryAfter string
}

func (e *ProblemError) Error() string {
	if e.Code == "no_such_route" {
		return e.Detail + "; the Kaa there may be older than this client"
	}
	return e.Detail
}

// IsProblem reports whether an error is a refusal with one of these codes.
func IsProblem(err error, codes ...string) bool {
	problem, ok := errors.AsType[*ProblemError](err)
	return ok && slices.Contains(codes, problem.Code)
}

// UnreachableError is the error of a call without an answer.
type UnreachableError struct {
	URL string
	Err error
}

func (e *UnreachableError) Error() string {
	switch {
	case errors.Is(e.Err, syscall.ECONNREFUSED):
		return fmt.Sprintf("nothing answers at %s (KAA_URL): is Kaa running there? %v", e.URL, e.Err)
	case strings.Contains(e.Err.Error(), "server gave HTTP response to HTTPS client"):
		return fmt.Sprintf("%s (KAA_URL) speaks http, not https", e.URL)
	case strings.Contains(e.Err.Error(), "unsupported protocol scheme"):
		return fmt.Sprintf("%s (KAA_URL) is no address of a Kaa: write http://host:port", e.URL)
	}
	return fmt.Sprintf("%s (KAA_URL) does not answer: %v", e.URL, e.Err)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

func (c *Client) unreachable(err error) error { return &UnreachableError{c.url, err} }

// mostProblem bounds what is read of a refusal.
const mostProblem = 1 << 20

// refused returns the error of an answer that is no success.
func (c *Client) refused(res *http.Response) *ProblemError {
	e := &ProblemError{RetryAfter: res.Header.Get("Retry-After")}
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	err := json.NewDecoder(io.LimitReader(res.Body, mostProblem)).Decode(&e.Problem)
	if err != nil || e.Detail == "" || !strings.HasSuffix(kind, "json") {
		e.Problem = Problem{Status: int64(res.StatusCode), Detail: fmt.Sprintf("%s (KAA_URL) answered %s, and not as a Kaa does", c.url, res.Status)}
	}
	return e
}
