package api_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// TestSharesOfKeys: one key takes no more than half of what there is, another half of the rest, and so
// a third finds some. A key that is alone has all.
func TestSharesOfKeys(t *testing.T) {
	t.Parallel()
	const poll, follow, code = "GET /v1/jobs/x?wait=60s", "GET /v1/jobs/x/events", "too_many_waits"
	execute := "POST " + executePath + ` {"code": "1"}`
	for _, tt := range []struct {
		request, code string
		set           func(*parts)
	}{
		{poll, code, func(c *parts) { c.MaxSyncWaits = 6 }},
		{follow, code, func(c *parts) { c.MaxSyncWaits = 6 }},
		{execute, code, func(c *parts) { c.MaxSyncWaits = 6 }},
		{poll, "too_many_requests", func(c *parts) { c.MaxRequests = 6 }},
	} {
		t.Run(tt.code+" "+tt.request[:12], func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cfg := config(&fakeStore{get: func() (job.Job, error) { return job.Job{State: job.Running}, nil }})
				tt.set(&cfg)
				cfg.apiKeys = []string{"a", "b", "c"}
				c := newCallers(t, cfg)
				defer c.leave()
				if got, want := fmt.Sprint(c.fill("a", tt.request, tt.code), c.fill("b", tt.request, tt.code), c.fill("c", tt.request, tt.code)), "3 2 1"; got != want {
					t.Errorf("the first, second and third key get %s, want %s", got, want)
				}
			})
			synctest.Test(t, func(t *testing.T) {
				cfg := config(&fakeStore{get: func() (job.Job, error) { return job.Job{State: job.Running}, nil }})
				tt.set(&cfg)
				cfg.apiKeys = []string{"a"}
				c := newCallers(t, cfg)
				defer c.leave()
				if got := c.fill("a", tt.request, tt.code); got != 6 {
					t.Errorf("a key that is alone gets %d, want all 6", got)
				}
			})
		})
	}
}

// callers call one API, and wait until they leave.
type callers struct {
	t       *testing.T
	handler http.Handler
	ctx     context.Context
	cancel  context.CancelFunc
	all     sync.WaitGroup
}

func newCallers(t *testing.T, cfg parts) *callers {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	return &callers{t: t, handler: newAPI(cfg), ctx: ctx, cancel: cancel}
}

func (c *callers) leave() {
	c.cancel()
	c.all.Wait()
	time.Sleep(time.Minute) // what they left in the background
}

// fill calls until there is a problem, and returns how many calls wait then.
func (c *callers) fill(key, request, code string) (n int) {
	for ; ; n++ {
		res, done := c.call(key, request)
		synctest.Wait()
		select {
		case <-done:
			if p := problem(c.t, res); p.Code != code || res.Code != http.StatusTooManyRequests {
				c.t.Errorf("%d %s", res.Code, res.Body)
			}
			return n
		default:
		}
	}
}

func (c *callers) call(key, request string) (*httptest.ResponseRecorder, <-chan struct{}) {
	method, rest, _ := strings.Cut(request, " ")
	path, body, _ := strings.Cut(rest, " ")
	req := httptest.NewRequestWithContext(c.ctx, method, path, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-API-Key", key)
	res, done := httptest.NewRecorder(), make(chan struct{})
	c.all.Go(func() {
		c.handler.ServeHTTP(res, req)
		close(done)
	})
	return res, done
}

// TestBodyOfRecordedJob: who waits for his job holds no memory, however long that takes.
func TestBodyOfRecordedJob(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := config(&fakeStore{get: func() (job.Job, error) { return job.Job{State: job.Running}, nil }})
		cfg.BodyMemory, cfg.MaxSyncWaits = 1000, 9
		c := newCallers(t, cfg)
		defer c.leave()
		body := `{"code": "1"}` + strings.Repeat("\n", 800)
		if got := c.fill("", "POST "+executePath+" "+body, "too_many_waits"); got != 9 {
			t.Errorf("%d executions of 800 bytes wait in memory of 1000, want 9", got)
		}
		if got := cfg.Hub.BodyBytes(); got != 0 {
			t.Errorf("%d bytes are held for those who wait", got)
		}
	})
}

// TestSlowBodies: who sends steadily may take his time, who pauses or sends a byte now and then is
// sent away.
func TestSlowBodies(t *testing.T) {
	t.Parallel()
	const size = 64 << 10
	for name, tt := range map[string]struct {
		piece  int
		every  time.Duration
		status int
		after  time.Duration
	}{
		"steady":                           {size / 10, 29 * time.Second / 40, 202, 0},
		"slower than patience, but steady": {size / 2, 20 * time.Second, 202, 0},
		"pausing":                          {size / 2, time.Hour, 408, 30 * time.Second},
		"a byte now and then":              {1, 10 * time.Second, 408, 31 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cfg := config(&fakeStore{})
				cfg.MaxBodyBytes = size
				lis := make(pipes)
				server := &http.Server{Handler: newAPI(cfg)}
				go func() { _ = server.Serve(lis) }()
				defer func() { _ = server.Close() }()
				near, far := net.Pipe()
				lis <- far
				began := time.Now()
				var sender sync.WaitGroup
				defer sender.Wait()
				defer func() { _ = near.Close() }()
				sender.Go(func() {
					head := fmt.Sprintf("POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", size)
					body := `{"code": "1"}`
					body += strings.Repeat(" ", size-len(body))
					_, err := near.Write([]byte(head))
					for ; err == nil && len(body) > 0; time.Sleep(tt.every) {
						piece := min(tt.piece, len(body))
						_, err = near.Write([]byte(body[:piece]))
						body = body[piece:]
					}
				})
				res, err := http.ReadResponse(bufio.NewReader(near), nil)
				if err != nil {
					t.Fatal(err)
				}
				if res.StatusCode != tt.status || tt.after != 0 && (time.Since(began) < tt.after-time.Second || time.Since(began) > tt.after+10*time.Second) {
					t.Errorf("%d after %s, want %d after %s", res.StatusCode, time.Since(began), tt.status, tt.after)
				}
			})
		})
	}
}

// pipes is a listener of connections within the process.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	conn, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}
func (p pipes) Close() error { close(p); return nil }
func (pipes) Addr() net.Addr { return &net.TCPAddr{} }
