package chaos_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// client calls any of the APIs, and another one when a connection breaks.
type client struct {
	apis []*process
	http *http.Client
	next atomic.Int64

	mu       sync.Mutex
	statuses map[string]int // calls by operation and answer
	wrong    []string       // answers that there should never be
}

func newClient(apis []*process) *client {
	return &client{
		apis: apis, statuses: map[string]int{},
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}},
	}
}

type answer struct {
	status int
	header http.Header
	raw    []byte
}

// view is what the tests read of a job.
type view struct {
	ID          string
	State       string
	Attempt     int
	MaxAttempts int
	Runner      string
	FinishedAt  time.Time
	Failure     *struct{ Code, Message string }
	Result      *result
}

type result struct {
	Status, Stdout, JobID string
}

func (v view) terminal() bool {
	return v.State == "completed" || v.State == "cancelled" || v.State == "failed"
}

// problem is an error's body.
type problem struct{ Code, JobID string }

// call sends one request to one of the APIs, without trying again.
func (c *client) call(ctx context.Context, api *process, method, path string, body any, headers ...string) (answer, error) {
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return answer{}, err
		}
		reader = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, api.health+path, reader)
	if err != nil {
		return answer{}, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	operation, _, _ := strings.Cut(path, "?")
	for _, of := range []string{"/v1/jobs/", "/v1/sessions/", "/v1/schedules/"} {
		if id, ok := strings.CutPrefix(operation, of); ok {
			_, rest, _ := strings.Cut(id, "/")
			if command, ok := strings.CutPrefix(rest, "commands/"); ok {
				_, what, _ := strings.Cut(command, "/")
				rest = strings.TrimRight("commands/{id}/"+what, "/")
			}
			if strings.HasPrefix(rest, "calls/") {
				rest = "calls/{callId}"
			}
			operation = of + strings.TrimRight("{id}/"+rest, "/")
		}
	}
	operation = method + " " + operation
	res, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
			c.count(operation + " broken")
		}
		return answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		c.count(operation + " broken")
		return answer{}, err
	}
	a := answer{status: res.StatusCode, header: res.Header, raw: raw}
	what := fmt.Sprintf("%s %d", operation, a.status)
	if a.status >= 400 {
		what += " " + a.problem().Code
	}
	c.count(what)
	if a.status == http.StatusServiceUnavailable && a.header.Get("Retry-After") == "" && a.problem().Code == "unavailable" {
		c.complain("503 without Retry-After: %s", a.raw)
	}
	if a.status >= 500 && a.status != http.StatusServiceUnavailable && a.status != http.StatusBadGateway {
		c.complain("%s: %d %s", operation, a.status, a.raw)
	}
	return a, nil
}

func (a answer) problem() (p problem) {
	_ = json.Unmarshal(a.raw, &p)
	return p
}

func (a answer) view() (v view) {
	_ = json.Unmarshal(a.raw, &v)
	return v
}

// any takes the APIs in turn.
func (c *client) any() *process {
	return c.apis[int(c.next.Add(1))%len(c.apis)]
}

// insist calls until one of the APIs gives an answer that is not "later".
func (c *client) insist(ctx context.Context, limit time.Duration, method, path string, body any, headers ...string) (answer, error) {
	for {
		try, cancel := context.WithTimeout(ctx, limit)
		a, err := c.call(try, c.any(), method, path, body, headers...)
		cancel()
		// Many callers wait at the few processes that the faults leave.
		later := a.status == http.StatusServiceUnavailable || a.status == http.StatusTooManyRequests && a.problem().Code == "too_many_waits"
		if err == nil && !later {
			return a, nil
		}
		select {
		case <-ctx.Done():
			return answer{}, ctx.Err()
		case <-time.After(time.Duration(100+rand.IntN(200)) * time.Millisecond):
		}
	}
}

// await polls a job until it has ended and returns when that was seen.
func (c *client) await(ctx context.Context, id string) (view, time.Time, error) {
	for {
		a, err := c.insist(ctx, 4*time.Second, http.MethodGet, "/v1/jobs/"+id+"?wait=2s", nil)
		if err != nil {
			return view{}, time.Time{}, err
		}
		v := a.view()
		if a.status != http.StatusOK {
			return v, time.Now(), fmt.Errorf("job %s: %d %s", id, a.status, a.raw)
		}
		if v.terminal() {
			return v, time.Now(), nil
		}
	}
}

func (c *client) count(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.statuses[what]++
}

func (c *client) complain(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
}
