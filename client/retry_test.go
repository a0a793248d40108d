package client_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaa-run/kaa/client"
)

// sender is a Kaa without a network.
type sender func(*http.Request) *http.Response

func (s sender) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return s(r), nil
}

// refusing returns a client whose Kaa refuses some requests so, and carries out the next. The bodies of all are noted, with their times.
func refusing(times, status int, code, retryAfter string) (*client.Client, *[]string, *[]time.Time) {
	bodies, at := new([]string), new([]time.Time)
	return client.New("kaa", "").With(&http.Client{Transport: sender(func(r *http.Request) *http.Response {
		text := ""
		if r.Body != nil {
			all, _ := io.ReadAll(r.Body)
			text = string(all)
		}
		*bodies, *at = append(*bodies, text), append(*at, time.Now())
		res := &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Request: r}
		body := `{"id":"j","status":"ok"}`
		if len(*bodies) <= times {
			res.StatusCode, body = status, `{"code":"`+code+`","detail":"not now"}`
			res.Header = http.Header{"Content-Type": {"application/problem+json"}, "Retry-After": {retryAfter}}
		}
		res.Body = io.NopCloser(strings.NewReader(body))
		return res
	})}), bodies, at
}

// TestRetries: a call is sent again as Retry-After says, where its code cannot have begun.
func TestRetries(t *testing.T) {
	t.Parallel()
	execute := func(ctx context.Context, c *client.Client) error {
		_, err := c.Execute(ctx, client.ExecuteBody{Code: "1"})
		return err
	}
	keyed := func(ctx context.Context, c *client.Client) error {
		_, err := c.SubmitJob(ctx, client.JobBody{Code: "1"}, client.IdempotencyKey("k"))
		return err
	}
	look := func(ctx context.Context, c *client.Client) error {
		_, err := c.GetJob(ctx, "j", client.GetJobParams{})
		return err
	}
	lines := func(ctx context.Context, c *client.Client) error {
		_, err := c.SubmitBatch(ctx, client.SubmitBatchParams{}, io.MultiReader(strings.NewReader(`{"code":"1"}`)))
		return err
	}
	for name, tt := range map[string]struct {
		call        func(context.Context, *client.Client) error
		status      int
		code, after string
		sent        int // with two refusals
	}{
		"full queue":                          {execute, 429, "queue_full", "2", 3},
		"no runner":                           {execute, 503, "no_runner", "2", 3},
		"look while Redis is away":            {look, 503, "unavailable", "2", 3},
		"job with a key while Redis is away":  {keyed, 503, "unavailable", "2", 3},
		"execution while Redis is away":       {execute, 503, "unavailable", "2", 1},
		"code that may have run":              {execute, 503, "drained", "2", 1},
		"no time named":                       {execute, 429, "queue_full", "", 1},
		"a time that is none":                 {execute, 429, "queue_full", "soon", 1},
		"a time beyond what the client waits": {execute, 429, "queue_full", "61", 1},
		"longer than it waits in all":         {execute, 429, "queue_full", "40", 2},
		"another problem":                     {execute, 409, "conflict", "2", 1},
		"a body that is read once":            {lines, 429, "queue_full", "2", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, bodies, at := refusing(2, tt.status, tt.code, tt.after)
				err := tt.call(t.Context(), c)
				if len(*bodies) != tt.sent || (err == nil) != (tt.sent == 3) || err != nil && !client.IsProblem(err, tt.code) {
					t.Errorf("%v after %d requests, want %d", err, len(*bodies), tt.sent)
				}
				for i, body := range *bodies {
					if body != (*bodies)[0] {
						t.Errorf("request %d has the body %q, want %q", i, body, (*bodies)[0])
					}
					if i > 0 && (*at)[i].Sub((*at)[i-1]) < 2*time.Second {
						t.Errorf("request %d came %s after the one before", i, (*at)[i].Sub((*at)[i-1]))
					}
				}
			})
		})
	}
}

// TestRetryEnds: the end of the context ends the wait, and a client may do without.
func TestRetryEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, bodies, _ := refusing(9, 429, "queue_full", "30")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := c.Execute(ctx, client.ExecuteBody{Code: "1"})
		if !errors.Is(err, context.DeadlineExceeded) || !client.IsProblem(err, "queue_full") || len(*bodies) != 1 || time.Since(began) != time.Second {
			t.Errorf("%v after %s and %d requests", err, time.Since(began), len(*bodies))
		}
		if _, err := c.RetryFor(0).Execute(t.Context(), client.ExecuteBody{Code: "1"}); !client.IsProblem(err, "queue_full") || len(*bodies) != 2 {
			t.Errorf("%v after %d requests", err, len(*bodies))
		}
	})
}
