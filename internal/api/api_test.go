package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/api"
	"github.com/kaa-run/kaa/internal/door"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
	"github.com/kaa-run/kaa/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// fakeStore answers every question with err, and otherwise with the zero value
// or what get says.
type fakeStore struct {
	service.Operations

	err       error
	get       func() (job.Job, error)
	events    func(after job.EventID) []job.Event
	cancelled bool
	abandoned job.State

	waitsFor job.Wait

	mu         sync.Mutex
	created    []job.NewJob
	runners    []job.Runner
	runnersErr error
	looks      int // for runners
}

func (f *fakeStore) CreateAll(_ context.Context, jobs []job.NewJob) []job.Created {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.created = append(f.created, jobs...)
	out := make([]job.Created, len(jobs))
	for i, n := range jobs {
		out[i] = job.Created{Job: n.Job, Err: f.err}
	}
	return out
}
func (f *fakeStore) Enqueued(context.Context, ...job.Task) error { return f.err }
func (f *fakeStore) Cancel(context.Context, string) (job.State, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cancelled = true
	return job.Running, f.err
}

func (f *fakeStore) Remove(context.Context, string) (bool, error) { return false, f.err }

func (f *fakeStore) Abandon(context.Context, string, job.Failure) (job.State, error) {
	return f.abandoned, f.err
}

func (f *fakeStore) Get(context.Context, string) (job.Job, error) {
	if f.get != nil {
		return f.get()
	}
	return job.Job{State: job.Running}, f.err
}

func (f *fakeStore) Summary(ctx context.Context, id string) (job.Job, error) { return f.Get(ctx, id) }
func (f *fakeStore) Watch(context.Context, string, string) error             { return f.err }
func (f *fakeStore) Complete(_ context.Context, j job.Job) (job.Job, error)  { return j, nil }
func (f *fakeStore) Request(context.Context, job.Job) (job.NewJob, error) {
	return job.NewJob{}, job.ErrRequestGone
}
func (f *fakeStore) WaitsFor(context.Context, string) (job.Wait, error) { return f.waitsFor, f.err }

func (f *fakeStore) List(context.Context, job.Filter) ([]job.Job, string, error) {
	return nil, "", f.err
}

func (f *fakeStore) Queues(context.Context, []string, job.Viewer) ([]job.QueueStats, error) {
	return nil, f.err
}

func (f *fakeStore) Runners(context.Context) ([]job.Runner, error) {
	f.looks++
	return f.runners, errors.Join(f.err, f.runnersErr)
}
func (f *fakeStore) Ready(context.Context) error { return f.err }

func (f *fakeStore) SessionsUsed(context.Context, []string) (map[string]int64, error) {
	return nil, f.err
}

func (f *fakeStore) Samples(context.Context, time.Time, time.Time) ([]job.Sample, error) {
	return []job.Sample{}, f.err
}

func (*fakeStore) PausedQueues(context.Context) (map[string]time.Time, error) { return nil, nil }

type fakeQueue struct {
	service.TaskLists

	enqueued []job.Task
	removed  []string
}

func (q *fakeQueue) Enqueue(_ context.Context, t job.Task) error {
	q.enqueued = append(q.enqueued, t)
	return nil
}

func (*fakeQueue) Paused(context.Context, []string) (map[string]time.Time, error) { return nil, nil }

func (q *fakeQueue) Remove(_ context.Context, t job.Task) error {
	q.removed = append(q.removed, t.JobID)
	return nil
}

type observer struct {
	mu     sync.Mutex
	routes []string
}

func (o *observer) Request(_, method, route string, status int, _ time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.routes = append(o.routes, fmt.Sprint(method, " ", route, " ", status))
}
func (*observer) Problem(int, string) {}

// get answers one GET request.
func get(t *testing.T, cfg parts, path string) *httptest.ResponseRecorder {
	t.Helper()
	return serve(t.Context(), cfg, http.MethodGet, path, "")
}

func serve(ctx context.Context, cfg parts, method, path, body string) *httptest.ResponseRecorder {
	req := httptest.NewRequestWithContext(ctx, method, path, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	res := httptest.NewRecorder()
	newAPI(cfg).ServeHTTP(res, req)
	return res
}

// core and entrance are what parts has in one: a Service, and the door before it.
type (
	core     = service.Config
	entrance = door.Config
)

// parts makes an API, the door before it and the service behind it.
type parts struct {
	core
	entrance
	dialect api.Config
	// apiKeys and adminKeys are those of the configuration.
	apiKeys, adminKeys []string
}

// newAPI returns the API of parts. Log, Answers and Background of the core are for all.
func newAPI(p parts) http.Handler {
	if len(p.apiKeys)+len(p.adminKeys) > 0 {
		p.entrance.Keys = access.NewKeyring()
		p.entrance.Keys.Set(access.SourceEnvironment, access.Configured(p.apiKeys, p.adminKeys))
	}
	p.Shared = len(p.apiKeys)+len(p.adminKeys) > 1
	p.Submitted = func(string) {}
	core := service.New(p.core)
	p.Service, p.entrance.Log, p.entrance.Answers, p.entrance.Background = core, p.core.Log, p.core.Answers, p.core.Background
	p.dialect.Service, p.dialect.Log, p.dialect.Observer, p.dialect.MaxFrameBytes = core, p.core.Log, p.Observer, p.MaxBodyBytes
	return door.New(p.entrance).Handle(api.New(p.dialect))
}

func config(s *fakeStore) parts {
	return parts{core{
		Background: new(sync.WaitGroup), Records: s, Lookup: s, Fleet: s, Operations: s, Lists: new(fakeQueue), Events: s, Notifier: s, Queue: new(fakeQueue), Hub: service.NewHub("test"),
		Log: slog.New(slog.DiscardHandler), SyncQueueWait: 30 * time.Second,
		Limits: job.Limits{
			MaxCodeBytes: 100, DefaultTimeout: time.Minute, MaxTimeout: time.Hour, MaxAttempts: 1, Queues: []string{"default"},
			DefaultQueue: "default", DefaultResultTTL: time.Hour, MaxResultTTL: time.Hour,
			DefaultQuota: job.Quota{MemoryBytes: 512 << 20, CPUs: 1, Processes: 128, OpenFiles: 1024, FileBytes: 1000, DiskBytes: 70000, OutputBytes: 500, ResultBytes: 500},
			MaxQuota:     job.Quota{MemoryBytes: 4 << 30, CPUs: 2, Processes: 1024, OpenFiles: 4096, FileBytes: 1000, DiskBytes: 70000, OutputBytes: 1000, ResultBytes: 1000},
		},
	}, entrance{Observer: new(observer), MaxBodyBytes: 1000, MaxFileBytes: 2000, MaxLongBytes: 4000}, api.Config{Metrics: http.NotFoundHandler(), Version: "1"}, nil, nil}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	secret := errors.New("dial tcp 10.1.2.3:6379: password hunter2")
	tests := []struct {
		err        error
		status     int
		code       string
		retryAfter string
	}{
		{job.ErrNotFound, 404, "not_found", ""},
		{job.ErrGone, 410, "gone", ""},
		{job.ErrFinished, 409, "already_finished", ""},
		{job.ErrIdempotencyMismatch, 409, "idempotency_mismatch", ""},
		{fmt.Errorf("get: %w: %w", job.ErrUnavailable, secret), 503, "unavailable", "1"},
		{&job.FullError{Queue: "default", Depth: 7, Limit: 7}, 429, "queue_full", "5"},
		{&job.FullError{Depth: 7, Limit: 7}, 429, "key_queue_full", "5"},
		{context.DeadlineExceeded, 504, "timeout", ""},
		{secret, 500, "internal", ""},
	}
	for _, tt := range tests {
		t.Run(tt.code, func(t *testing.T) {
			t.Parallel()
			res := get(t, config(&fakeStore{err: fmt.Errorf("op: %w", tt.err)}), "/v1/jobs/x")
			var p api.Problem
			if err := json.Unmarshal(res.Body.Bytes(), &p); err != nil {
				t.Fatal(err)
			}
			if res.Code != tt.status || p.Status != tt.status || p.Code != tt.code || res.Header().Get("Retry-After") != tt.retryAfter {
				t.Errorf("%d, Retry-After %q, %s", res.Code, res.Header().Get("Retry-After"), res.Body)
			}
			if strings.Contains(res.Body.String(), "hunter2") || p.Detail == "" || p.Title == "" {
				t.Errorf("problem = %s", res.Body)
			}
		})
	}
}

// TestBatchWithoutStore: when nothing could be recorded, the caller may simply
// send the batch again.
func TestBatchWithoutStore(t *testing.T) {
	t.Parallel()
	res := serve(t.Context(), config(&fakeStore{err: job.ErrUnavailable}), http.MethodPost, "/v1/jobs:batch", `{"jobs": [{"code": "1"}, {"code": ""}]}`)
	if res.Code != 503 || res.Header().Get("Retry-After") == "" {
		t.Errorf("%d %s", res.Code, res.Body)
	}
}

func TestPanicIsAnInternalError(t *testing.T) {
	t.Parallel()
	cfg := config(&fakeStore{get: func() (job.Job, error) { panic("hunter2") }})
	seen := new(observer)
	cfg.Observer = seen
	res := get(t, cfg, "/v1/jobs/x")
	if res.Code != 500 || strings.Contains(res.Body.String(), "hunter2") || res.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("%d %s", res.Code, res.Body)
	}
	if diff := cmp.Diff([]string{"GET /v1/jobs/:id 500"}, seen.routes); diff != "" {
		t.Errorf("observed (-want +got):\n%s", diff)
	}
}

const executePath = "/process/interpreter/execute"

// TestWaitOfASyncCall plays through how the wait for a job may go, in no time.
func TestWaitOfASyncCall(t *testing.T) {
	t.Parallel()
	ok := job.Job{State: job.Completed, Result: &job.Result{Status: job.StatusOK}}
	lost := job.Job{State: job.Failed, Failure: &job.Failure{Code: job.FailRunnerLost, Message: "m"}}
	after := func(d time.Duration, end job.Job) func() (job.Job, error) {
		start := time.Now()
		return func() (job.Job, error) {
			if time.Since(start) < d {
				return job.Job{State: job.Running}, nil
			}
			return end, nil
		}
	}
	tests := []struct {
		name      string
		end       job.Job
		after     time.Duration
		abandoned job.State
		waitsFor  job.Wait
		hangUp    time.Duration
		status    int
		code      string
		cancelled bool
		took      time.Duration
		looks     bool // no message reports the end: the next look finds it
	}{
		{name: "the message was lost", end: ok, after: 3 * time.Second, status: 200, took: 3 * time.Second, looks: true},
		{name: "it runs longer than the queue wait", end: ok, after: 40 * time.Second, abandoned: job.Running, status: 200, took: 40 * time.Second, looks: true},
		{name: "all slots are busy", end: ok, after: time.Hour, abandoned: job.Cancelled, waitsFor: job.WaitSlot, status: 503, code: `"no_runner","detail":"no runner had a free slot`, took: 30 * time.Second},
		{name: "no runner is there", end: ok, after: time.Hour, abandoned: job.Cancelled, waitsFor: job.WaitRunner, status: 503, code: `"no_runner","detail":"no runner takes jobs of this queue`, took: 30 * time.Second},
		{name: "its queue is paused", end: ok, after: time.Hour, abandoned: job.Cancelled, waitsFor: job.WaitPaused, status: 503, code: `"queue_paused"`, took: 30 * time.Second},
		{name: "its key is busy", end: ok, after: time.Hour, abandoned: job.Cancelled, waitsFor: job.WaitKey, status: 429, code: `"key_busy"`, took: 30 * time.Second},
		{name: "its runner is lost", end: lost, after: time.Second, status: 502, code: "runner_lost", took: time.Second, looks: true},
		{name: "it never ends", end: ok, after: time.Hour, abandoned: job.Running, status: 504, code: "timeout", cancelled: true, took: 2 * time.Minute},
		{name: "the caller goes away", end: ok, after: time.Hour, hangUp: 5 * time.Second, status: 499, code: "client_closed", cancelled: true, took: 5 * time.Second},
		{
			name: "cancelled before it began", end: job.Job{State: job.Cancelled, Failure: &job.Failure{Code: job.FailCancelled, Message: "m"}},
			status: 409, code: "cancelled", looks: true,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &fakeStore{get: after(tt.after, tt.end), abandoned: tt.abandoned, waitsFor: tt.waitsFor}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tt.hangUp > 0 {
					time.AfterFunc(tt.hangUp, cancel)
				}
				start := time.Now()
				cfg := config(s)
				res := serve(ctx, cfg, http.MethodPost, executePath, `{"code": "1", "timeout": 60}`)
				most := tt.took
				if tt.looks { // as late again at most, and ten seconds, and a fifth
					most += min(tt.took, 10*time.Second)*12/10 + 2*time.Second
				}
				if took := time.Since(start); took < tt.took || took > most {
					t.Errorf("took %s, want %s to %s", took, tt.took, most)
				}
				if res.Code != tt.status || !strings.Contains(res.Body.String(), tt.code) {
					t.Errorf("%d %s; want %d %s", res.Code, res.Body, tt.status, tt.code)
				}
				cfg.core.Background.Wait()
				if s.cancelled != tt.cancelled {
					t.Errorf("cancelled: %t", s.cancelled)
				}
			})
		})
	}
}

// TestWaitsFor: a queued job says why it waits, at once and at the end of a long poll; no other does.
func TestWaitsFor(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		state job.State
		path  string
		want  bool
	}{
		{job.Queued, "/v1/jobs/x", true},
		{job.Queued, "/v1/jobs/x?wait=10ms", true},
		{job.Scheduled, "/v1/jobs/x", false},
		{job.Running, "/v1/jobs/x?wait=10ms", false},
		{job.Completed, "/v1/jobs/x", false},
	} {
		s := &fakeStore{waitsFor: job.WaitKey, get: func() (job.Job, error) { return job.Job{ID: "x", State: tt.state}, nil }}
		if res := get(t, config(s), tt.path); strings.Contains(res.Body.String(), `"waitsFor":"key"`) != tt.want || res.Code != 200 {
			t.Errorf("%s of a job that is %s: %d %s", tt.path, tt.state, res.Code, res.Body)
		}
	}
}

func TestHubWakesOnlyWhoWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hub := service.NewHub("test")
		var ended atomic.Bool
		s := &fakeStore{get: func() (job.Job, error) {
			if ended.Load() {
				return job.Job{State: job.Completed}, nil
			}
			return job.Job{State: job.Running}, nil
		}}
		cfg := config(s)
		cfg.Hub = hub
		time.AfterFunc(300*time.Millisecond, func() { hub.Ended("another", nil) })
		time.AfterFunc(500*time.Millisecond, func() { ended.Store(true); hub.Ended("x", nil); hub.Ended("x", nil) })
		start := time.Now()
		res := get(t, cfg, "/v1/jobs/x?wait=30")
		if took := time.Since(start); took != 500*time.Millisecond || !strings.Contains(res.Body.String(), "completed") {
			t.Errorf("after %s: %s", took, res.Body)
		}
	})
}

func TestDrainingEndsLongPolls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		draining := make(chan struct{})
		cfg := config(&fakeStore{})
		cfg.Draining = draining
		time.AfterFunc(time.Second/2, func() { close(draining) })
		start := time.Now()
		res := get(t, cfg, "/v1/jobs/x?wait=30s")
		if took := time.Since(start); took != time.Second/2 || res.Code != 200 {
			t.Errorf("after %s: %d", took, res.Code)
		}
		if res := get(t, cfg, "/readyz"); res.Code != 503 {
			t.Errorf("ready while draining: %d", res.Code)
		}
	})
}

func TestOpenAPI(t *testing.T) {
	t.Parallel()
	res := get(t, config(&fakeStore{}), "/openapi.json")
	var spec struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]map[string]struct {
			OperationID string         `json:"operationId"`
			Summary     string         `json:"summary"`
			Responses   map[string]any `json:"responses"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(res.Body.Bytes(), &spec); err != nil || !strings.HasPrefix(spec.OpenAPI, "3.1") {
		t.Fatalf("OpenAPI %q: %v", spec.OpenAPI, err)
	}
	var got []string
	for path, item := range spec.Paths {
		for method, op := range item {
			got = append(got, strings.ToUpper(method)+" "+path)
			if op.Summary == "" || op.OperationID == "" || len(op.Responses) < 2 {
				t.Errorf("%s %s is hardly described: %+v", method, path, op)
			}
			for _, status := range []string{"400", "401", "408", "413", "415", "429", "503"} {
				if _, ok := op.Responses[status]; method == "post" && !ok {
					t.Errorf("%s %s may answer %s and does not say so", method, path, status)
				}
			}
		}
	}
	slices.Sort(got)
	want := []string{
		"DELETE /v1/sessions/{id}/commands/{command}", "GET /v1/sessions/{id}/commands", "GET /v1/sessions/{id}/commands/{command}",
		"GET /v1/sessions/{id}/commands/{command}/events", "POST /v1/sessions/{id}/commands", "POST /v1/sessions/{id}/commands/{command}/input",
		"POST /v1/sessions/{id}/commands/{command}/resize", "POST /v1/sessions/{id}/commands/{command}/signal",
		"PATCH /v1/sessions/{id}", "POST /v1/sessions/{id}/pause", "POST /v1/sessions/{id}/resume", "GET /v1/volumes", "GET /v1/volumes/{name}", "DELETE /v1/volumes/{name}", "PUT /v1/sessions/by-name/{name}", "GET /v1/sessions/by-name/{name}", "DELETE /v1/sessions/by-name/{name}",
		"GET /v1/sessions/{id}/fs/entry", "PATCH /v1/sessions/{id}/fs/entry", "DELETE /v1/sessions/{id}/fs/entry", "GET /v1/sessions/{id}/fs/entries", "GET /v1/sessions/{id}/fs/content", "PUT /v1/sessions/{id}/fs/content", "POST /v1/sessions/{id}/fs/content", "GET /v1/sessions/{id}/fs/archive", "GET /v1/sessions/{id}/fs/watch", "PUT /v1/sessions/{id}/fs/archive", "POST /v1/sessions/{id}/fs/directory", "POST /v1/sessions/{id}/fs/move", "POST /v1/sessions/{id}/fs/copy",
		"GET /v1/sessions/{id}/ports/{port}", "GET /v1/sessions/{id}/ports/{port}/{path}", "GET /v1/sessions/{id}/commands/ws", "GET /v1/sessions/{id}/commands/{command}/ws",
		"DELETE /v1/batches/{id}", "DELETE /v1/batches/{id}/record",
		"DELETE /v1/jobs/{id}", "DELETE /v1/jobs/{id}/files/{path}", "DELETE /v1/jobs/{id}/record", "DELETE /v1/keys/{id}", "DELETE /v1/schedules/{id}", "DELETE /v1/sessions/{id}", "DELETE /v1/sessions/{id}/files/{path}", "GET /healthz", "GET /readyz", "GET /v1/batches", "GET /v1/batches/{id}", "GET /v1/batches/{id}/archive", "GET /v1/batches/{id}/events", "GET /v1/batches/{id}/results", "GET /v1/config", "GET /v1/key", "GET /v1/fleet/history", "GET /v1/jobs", "GET /v1/jobs/{id}",
		"GET /v1/jobs/{id}/events", "GET /v1/jobs/{id}/files", "GET /v1/jobs/{id}/files/{path}", "GET /v1/jobs/{id}/request", "GET /v1/keys", "GET /v1/queues", "GET /v1/queues/{name}/tasks", "GET /v1/runners", "GET /v1/runtimes", "GET /v1/schedules", "GET /v1/schedules/{id}",
		"GET /v1/sessions", "GET /v1/sessions/{id}", "GET /v1/sessions/{id}/files", "GET /v1/sessions/{id}/files/{path}", "GET /v1/sessions/{id}/ws", "GET /v1/usage",
		"POST /process/interpreter/execute", "POST /v1/batches", "POST /v1/batches/{id}/lines", "POST /v1/batches/{id}/rerun", "POST /v1/jobs", "POST /v1/jobs/{id}/calls/{callId}", "POST /v1/jobs/{id}/rerun", "POST /v1/jobs:batch", "POST /v1/jobs:cancel", "POST /v1/jobs:purge", "POST /v1/keys",
		"POST /v1/queues/{name}/pause", "POST /v1/queues/{name}/resume", "POST /v1/runners/{id}/drain", "POST /v1/runners/{id}/resume",
		"POST /v1/schedules", "POST /v1/schedules/{id}/pause", "POST /v1/schedules/{id}/resume", "POST /v1/schedules/{id}/run",
		"POST /v1/sessions", "POST /v1/sessions/{id}/checkpoint", "POST /v1/sessions/{id}/files", "POST /v1/sessions/{id}/fork", "POST /v1/sessions/{id}/interrupt",
		"POST /v1/sessions/{id}/restart", "POST /v1/sessions/{id}/rollback",
		"GET /v1/sessions/{id}/contexts", "POST /v1/sessions/{id}/contexts", "DELETE /v1/sessions/{id}/contexts/{contextId}",
		"POST /v1/sessions/{id}/contexts/{contextId}/restart", "POST /v1/sessions/{id}/contexts/{contextId}/interrupt",
		"PUT /v1/schedules/{id}", "PUT /v1/sessions/{id}/files/{path}",
		"POST /v1/environments", "GET /v1/environments", "GET /v1/environments/{id}", "POST /v1/sessions/{id}/packages",
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("operations (-want +got):\n%s", diff)
	}
	if strings.Contains(res.Body.String(), "$schema\"") {
		t.Error("bodies have a $schema field")
	}
}

func TestDocsPage(t *testing.T) {
	t.Parallel()
	page := get(t, config(&fakeStore{}), "/docs").Body.String()
	for _, want := range []string{"/v1/jobs:batch", "/process/interpreter/execute", "Idempotency-Key", "durationMs", "maxAttempts", "error.traceback", "limits.memoryBytes", "peakMemoryBytes", "figureFormats", "resultsDropped"} {
		if !strings.Contains(page, want) {
			t.Errorf("%s is missing", want)
		}
	}
	// It has to work offline: nothing may be loaded, from anywhere.
	if loads := regexp.MustCompile(`(?i)<(script|link|img|iframe)|@import|url\(`).FindString(page); loads != "" {
		t.Errorf("the page loads something: %s", loads)
	}
}
