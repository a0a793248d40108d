package api_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
)

func offering(names ...string) job.Runner {
	r := job.Runner{ID: "r"}
	for _, name := range names {
		r.Runtimes = append(r.Runtimes, job.Runtime{Name: name, Version: "3", Default: name == "py313"})
	}
	return r
}

// TestRuntimesOfRequests: names are known from the registry, which is asked no
// more often than needed, and always before a name is refused.
func TestRuntimesOfRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &fakeStore{}
		handler := newAPI(config(s))
		steps := []struct {
			name    string
			after   time.Duration
			runners []job.Runner
			away    bool
			runtime string
			status  int
			says    string
			looks   int // of all steps so far
		}{
			{name: "no runtime asks nobody", status: 202},
			{name: "nobody there: it waits", runtime: "py39", status: 202, looks: 1},
			{name: "no name, and nobody there", after: time.Millisecond, runtime: "PY 3", status: 400, says: "is not the name", looks: 2},
			{name: "known", after: time.Millisecond, runners: []job.Runner{offering("py39", "py313")}, runtime: "py39", status: 202, looks: 3},
			{name: "still known", after: time.Second, runtime: "py313", status: 202, looks: 3},
			{name: "unknown", after: time.Millisecond, runtime: "py27", status: 400, says: "use one of py313, py39", looks: 4},
			{name: "known for too long", after: 2 * time.Second, runtime: "py39", status: 202, looks: 5},
			{name: "just come", after: time.Millisecond, runners: []job.Runner{offering("py39"), offering("py27")}, runtime: "py27", status: 202, looks: 6},
			{name: "the store is away", after: time.Minute, away: true, runtime: "py39", status: 503, says: "try again", looks: 7},
			{name: "and is back", runtime: "py39", status: 202, looks: 8},
			{name: "runners that say nothing", after: time.Minute, runners: []job.Runner{{ID: "old"}}, runtime: "py39", status: 202, looks: 9},
		}
		for _, step := range steps {
			time.Sleep(step.after)
			if step.runners != nil {
				s.runners = step.runners
			}
			s.runnersErr = nil
			if step.away {
				s.runnersErr = job.ErrUnavailable
			}
			body := `{"code": "1"}`
			if step.runtime != "" {
				body = fmt.Sprintf(`{"code": "1", "runtime": %q}`, step.runtime)
			}
			res := send(t, handler, "/v1/jobs", body)
			if res.Code != step.status || !strings.Contains(res.Body.String(), step.says) {
				t.Errorf("%s: %d %s", step.name, res.Code, res.Body)
			}
			if step.status == 400 && !strings.Contains(res.Body.String(), `"location":"body.runtime"`) {
				t.Errorf("%s: %s", step.name, res.Body)
			}
			if step.status == 202 && !strings.Contains(res.Body.String(), `"runtime":"`+step.runtime) && step.runtime != "" {
				t.Errorf("%s: the job does not show its runtime: %s", step.name, res.Body)
			}
			if s.looks != step.looks {
				t.Errorf("%s: %d looks so far, want %d", step.name, s.looks, step.looks)
			}
		}
	})
}

// TestRuntimesOfABatch: refusing many names takes one look.
func TestRuntimesOfABatch(t *testing.T) {
	t.Parallel()
	s := &fakeStore{runners: []job.Runner{offering("py39")}}
	res := serve(t.Context(), config(s), http.MethodPost, "/v1/jobs:batch",
		`{"jobs": [{"code": "1", "runtime": "a"}, {"code": "1", "runtime": "b"}, {"code": "1", "runtime": "py39"}]}`)
	if res.Code != 202 || strings.Count(res.Body.String(), "detail\":\"body.runtime: ") != 2 || s.looks != 1 {
		t.Errorf("%d looks: %d %s", s.looks, res.Code, res.Body)
	}
	if len(s.created) != 1 || s.created[0].Job.Runtime != "py39" || s.created[0].Spec.Runtime != "py39" {
		t.Errorf("created %+v", s.created)
	}
}

// TestTaskCarriesTheRuntime: the runner needs it before it sees the request.
func TestTaskCarriesTheRuntime(t *testing.T) {
	t.Parallel()
	s, q := &fakeStore{}, new(fakeQueue)
	cfg := config(s)
	cfg.Queue = q
	res := serve(t.Context(), cfg, http.MethodPost, "/v1/jobs", `{"code": "1", "runtime": "py39"}`)
	if res.Code != 202 || len(q.enqueued) != 1 || q.enqueued[0].Runtime != "py39" {
		t.Errorf("%d %s; enqueued %+v", res.Code, res.Body, q.enqueued)
	}
}

func TestListRuntimes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		runners []job.Runner
		path    string
		want    string
	}{
		{"no runner", nil, "/v1/runtimes", `{"runtimes":[]}`},
		{
			"of all",
			[]job.Runner{offering("py39"), {ID: "s", Runtimes: []job.Runtime{{Name: "ds", Version: "3.12.1", Modules: []string{"numpy"}, Default: true}}}},
			"/v1/runtimes",
			`{"runtimes":[{"name":"ds","version":"3.12.1","modules":["numpy"],"default":true},{"name":"py39","version":"3","modules":[],"default":false}]}`,
		},
		{
			"a runner that says nothing",
			[]job.Runner{{ID: "r", StartedAt: time.Unix(0, 0).UTC()}},
			"/v1/runners",
			`{"runners":[{"id":"r","host":"","pid":0,"version":"","startedAt":"1970-01-01T00:00:00Z","concurrency":0,"active":0,"queues":null,` +
				`"python":"","runtimes":[],"sandbox":"","sandboxLayers":[],"memoryControl":"","sessions":0,"maxSessions":0,"parked":0,"draining":false}]}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			res := get(t, config(&fakeStore{runners: tt.runners}), tt.path)
			if diff := cmp.Diff(tt.want, strings.TrimSpace(res.Body.String())); diff != "" || res.Code != 200 {
				t.Errorf("%d (-want +got):\n%s", res.Code, diff)
			}
		})
	}
}

func TestLimitsOfRequests(t *testing.T) {
	t.Parallel()
	defaults := config(&fakeStore{}).Limits.DefaultQuota
	tests := []struct {
		name   string
		limits string
		change func(*job.Quota)
		says   string // if it is refused
	}{
		{"none", `{}`, func(*job.Quota) {}, ""},
		{"null", `null`, func(*job.Quota) {}, ""},
		{"nulls", `{"memoryBytes": null, "cpus": null}`, func(*job.Quota) {}, ""},
		{
			"all", `{"memoryBytes": 3e9, "cpus": 0.5, "cpuSeconds": 1.5, "processes": 2, "openFiles": 20.0, "fileBytes": 0, "diskBytes": 65536, "outputBytes": 0, "resultBytes": 5}`,
			func(q *job.Quota) {
				*q = job.Quota{MemoryBytes: 3e9, CPUs: 0.5, CPUTime: 1500 * time.Millisecond, Processes: 2, OpenFiles: 20, DiskBytes: 65536, ResultBytes: 5}
			}, "",
		},
		{"unknown", `{"memory": 1}`, nil, "body.limits.memory"},
		{"of the wrong type", `{"memoryBytes": "1g"}`, nil, "body.limits.memoryBytes: expected integer"},
		{"half a process", `{"processes": 1.5}`, nil, "body.limits.processes: expected integer"},
		{"not an object", `[]`, nil, "body.limits: expected object"},
		{"beyond the ceiling", `{"memoryBytes": 99999999999999999999999}`, nil, "body.limits.memoryBytes: must be from 33554432 to 4294967296"},
		{"below the floor", `{"cpus": 0}`, nil, "body.limits.cpus: must be from 0.01 to 2"},
	}
	for _, tt := range tests {
		for _, path := range []string{executePath, "/v1/jobs", "/v1/jobs:batch"} {
			t.Run(tt.name+" "+path, func(t *testing.T) {
				t.Parallel()
				body := `{"code": "1", "limits": ` + tt.limits + `}`
				if path == "/v1/jobs:batch" {
					body = `{"jobs": [` + body + `]}`
				}
				s := new(fakeStore)
				res := send(t, newAPI(config(s)), path, body, "Prefer", "respond-async")
				if tt.says != "" {
					if !strings.Contains(res.Body.String(), tt.says) || len(s.created) != 0 {
						t.Errorf("%d %s, want %s", res.Code, res.Body, tt.says)
					}
					return
				}
				if len(s.created) != 1 {
					t.Fatalf("%d %s", res.Code, res.Body)
				}
				want := defaults
				tt.change(&want)
				if diff := cmp.Diff(want, s.created[0].Spec.Quota); diff != "" {
					t.Errorf("quota (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestFingerprint: runtime and limits are part of what an idempotency key stands
// for, and a request without them is the one that it was before there were any.
func TestFingerprint(t *testing.T) {
	t.Parallel()
	s := &fakeStore{}
	handler := newAPI(config(s))
	seen := map[string]string{}
	for _, body := range []string{
		`{"code":"1"}`, `{"code":"1","runtime":"a"}`, `{"code":"1","runtime":"b"}`, `{"code":"1","limits":{"cpus":1}}`,
		`{"code":"1","limits":{"cpus":2}}`, `{"code":"1","limits":{"processes":2}}`,
	} {
		if res := send(t, handler, "/v1/jobs", body, "Idempotency-Key", "k"); res.Code != 202 {
			t.Fatalf("%s: %d %s", body, res.Code, res.Body)
		}
		mark := s.created[len(s.created)-1].Fingerprint
		if other, twice := seen[mark]; twice {
			t.Errorf("%s and %s have one fingerprint", body, other)
		}
		seen[mark] = body
		// In another order and writing it is the same.
		spaced := strings.NewReplacer(`:2}`, `: 2.0}`, `,`, ` , `).Replace(body)
		if res := send(t, handler, "/v1/jobs", spaced, "Idempotency-Key", "k"); res.Code != 202 {
			t.Fatalf("%s: %d %s", spaced, res.Code, res.Body)
		}
		if again := s.created[len(s.created)-1].Fingerprint; again != mark {
			t.Errorf("%s and %s have two fingerprints", body, spaced)
		}
	}
	for body, written := range map[string]string{
		`{"code":"1"}`: `{"code":"1"}`,
		// In the order of the table, whatever the order of the request.
		`{"code":"1","limits":{"resultBytes":5e2,"cpuSeconds":null,"processes":2,"cpus":0.5,"memoryBytes":3e9}}`: `{"code":"1","limits":{"memoryBytes":3000000000,"cpus":0.5,"processes":2,"resultBytes":500}}`,
	} {
		if res := send(t, handler, "/v1/jobs", body, "Idempotency-Key", "k"); res.Code != 202 {
			t.Fatalf("%s: %d %s", body, res.Code, res.Body)
		}
		sum := sha256.Sum256([]byte(written))
		if got := s.created[len(s.created)-1].Fingerprint; got != hex.EncodeToString(sum[:]) {
			t.Errorf("the fingerprint of %s is no more that of other versions", body)
		}
	}
}

// TestLimitsAreDescribed: every limit says in the OpenAPI what it counts.
func TestLimitsAreDescribed(t *testing.T) {
	t.Parallel()
	res := get(t, config(&fakeStore{}), "/openapi.json")
	var spec struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]struct {
					Description string `json:"description"`
				} `json:"properties"`
			} `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(res.Body.Bytes(), &spec); err != nil {
		t.Fatal(err)
	}
	limits := spec.Components.Schemas["LimitsBody"].Properties
	if len(limits) != len(job.LimitTable()) {
		t.Errorf("%d limits, want %d", len(limits), len(job.LimitTable()))
	}
	for _, l := range job.LimitTable() {
		if text := limits[l.Name].Description; l.Doc == "" || !strings.HasPrefix(text, l.Doc) || !strings.HasSuffix(text, "unless configured otherwise.") {
			t.Errorf("%s: %q", l.Name, text)
		}
	}
	for _, schema := range []string{"ExecuteBody", "JobBody"} {
		for _, field := range []string{"runtime", "limits"} {
			if spec.Components.Schemas[schema].Properties[field].Description == "" {
				t.Errorf("%s.%s is not described", schema, field)
			}
		}
	}
}

// TestMissingRuntimeOfASyncCall: the code has not begun, so it may be sent again.
func TestMissingRuntimeOfASyncCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &fakeStore{get: func() (job.Job, error) {
			return job.Job{State: job.Failed, Failure: &job.Failure{Code: job.FailNoRuntime, Message: "m"}}, nil
		}}
		res := serve(t.Context(), config(s), http.MethodPost, executePath, `{"code": "1", "runtime": "py39"}`)
		if res.Code != 503 || res.Header().Get("Retry-After") != "1" || !strings.Contains(res.Body.String(), "runtime_missing") {
			t.Errorf("%d %v %s", res.Code, res.Header(), res.Body)
		}
	})
}

// send posts JSON to a handler; headers are names and values.
func send(t *testing.T, h http.Handler, path, body string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	return call(t, h, http.MethodPost, path, body, headers...)
}

func call(t *testing.T, h http.Handler, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res := httptest.NewRecorder()
	h.ServeHTTP(res, req)
	return res
}
