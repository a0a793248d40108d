package daytona

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

func TestChartOf(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, chart, want string }{
		{
			"times are days", `{"type":"line","x_unit":"s","y_unit":null,"x_ticks":["1970-01-02T00:00:00+00:00"],"y_ticks":[1],"elements":[{"label":"a","points":[["1970-01-03T12:00:00+00:00",1]]}]}`,
			`{"elements":[{"label":"a","points":[[2.5,1]]}],"png":"cA==","type":"line","x_ticks":[1],"y_ticks":[1]}`,
		},
		{"times without a zone", `{"type":"line","elements":[{"label":"a","points":[["1970-01-02T00:00:00",2],[1,null]]}]}`, `{"elements":[{"label":"a","points":[[1,2]]}],"png":"cA==","type":"line"}`},
		{"values are texts", `{"type":"bar","elements":[{"label":"a","group":"g","value":2.50},{"value":null}]}`, `{"elements":[{"group":"g","label":"a","value":"2.5"},{"value":null}],"png":"cA==","type":"bar"}`},
		{
			"categories are numbers", `{"type":"line","x_ticks":[0,1],"x_tick_labels":["a","b"],"elements":[{"label":"l","points":[["b",3]]}]}`,
			`{"elements":[{"label":"l","points":[[1,3]]}],"png":"cA==","type":"line","x_tick_labels":["a","b"],"x_ticks":[0,1]}`,
		},
		{
			"several axes", `{"type":"superchart","title":"S","elements":[{"type":"bar","x_unit":"m","elements":[]}]}`,
			`{"elements":[{"elements":[],"type":"bar"}],"png":"cA==","title":"S","type":"composite_chart"}`,
		},
		{"no chart", `null`, ""},
		{"forged", `5`, ""},
		{"forged inside", `{"type":"line","elements":[5,{"points":[1,["x"]]}]}`, `{"elements":[5,{"points":[]}],"png":"cA==","type":"line"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := chartOf(job.Value{Data: map[string]json.RawMessage{chartType: json.RawMessage(tt.chart), "image/png": json.RawMessage(`"cA=="`)}})
			if string(got) != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func TestStateOfGit(t *testing.T) {
	t.Parallel()
	got := stateOfGit("# branch.oid abc\x00# branch.head main\x00# branch.upstream o/main\x00# branch.ab +2 -3\x00" +
		"1 .M N... 100644 100644 100644 a b a b\x002 R. N... 100644 100644 100644 a b R100 new name\x00old\x00? new file\x00x\x00")
	want := gitState{CurrentBranch: "main", Ahead: 2, Behind: 3, BranchPublished: true, FileStatus: []fileStatus{
		{"a b", "", "Unmodified", "Modified"}, {"new name", "old", "Renamed", "Unmodified"}, {"new file", "", "Untracked", "Untracked"},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMatchesOf(t *testing.T) {
	t.Parallel()
	got := matchesOf("a\nb\x0012:x:y\nc:d\x003:\nno match\n")
	if diff := cmp.Diff([]match{{"b", 12, "x:y"}, {"c:d", 3, ""}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestViewOf(t *testing.T) {
	t.Parallel()
	at := time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)
	got := viewOf(job.Entry{Path: "/tmp/d", Type: job.EntryDirectory, Mode: "0751", Owner: "user", Group: "user", Modified: at})
	want := fileView{Name: "d", IsDir: true, Mode: "drwxr-x--x", ModTime: "2024-01-02T03:04:05Z", ModifiedAt: "2024-01-02T03:04:05Z", Permissions: "0751", Owner: "user", Group: "user"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPartOf(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"a b.txt":     `form-data; name="file"; filename="a b.txt"`,
		"é":           `form-data; name="file"; filename*=UTF-8''%C3%A9`,
		"a\"\r\nX: y": `form-data; name="file"; filename*=UTF-8''a%22%0D%0AX%3A%20y`,
	} {
		if got := partOf("file", name); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
}

// TestErrors: the SDKs choose their exceptions by status, source and code.
func TestErrors(t *testing.T) {
	t.Parallel()
	d := New(dialect.Parts{})
	failed := func(code job.FailureCode) error {
		return &service.EndError{Job: job.Job{Failure: &job.Failure{Code: code, Message: "m"}}}
	}
	tests := []struct {
		name, path string
		err        error
		want       string
	}{
		{"no sandbox", "/api/sandbox/x", job.ErrNoSession, "404 DAYTONA_API  sandbox not found"},
		{"a sandbox that ended", "/toolbox/x/files", &job.SessionEndedError{}, "404 DAYTONA_DAEMON  sandbox not found"},
		{"one that is paused", "/toolbox/x/files", job.ErrSessionPaused, "400 DAYTONA_DAEMON  the sandbox is not started; start it first"},
		{"no file", "/toolbox/x/files", failed(job.FailNoFile), "404 DAYTONA_DAEMON FILE_NOT_FOUND m"},
		{"a file that may not be read", "/toolbox/x/files", failed(job.FailFileDenied), "403 DAYTONA_DAEMON FILE_ACCESS_DENIED m"},
		{"too slow", "/toolbox/x/process/execute", timedOut(), "408 DAYTONA_DAEMON PROCESS_EXECUTION_TIMEOUT command execution timeout"},
		{"no key", "/api/sandbox", service.ErrUnauthorized, "401 DAYTONA_API  the API key is missing, unknown or expired"},
		{"ours", "/api/sandbox", errors.New("secret"), "500 DAYTONA_API  internal error; it has been logged"},
		{"no such route", "/api/socket.io/", unsupported(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/socket.io/", http.NoBody)), "404 DAYTONA_API  Kaa's Daytona dialect does not support GET /api/socket.io/"},
		{"not supported", "/toolbox/x/lsp/start", unsupported(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/toolbox/x/lsp/start", http.NoBody)), "501 DAYTONA_DAEMON  Kaa's Daytona dialect does not support GET /toolbox/x/lsp/start"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			d.answer(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, tt.path, http.NoBody), tt.err)
			var body errorBody
			if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.StatusCode != w.Code {
				t.Fatalf("%d %s: %v", w.Code, w.Body, err)
			}
			if got := fmt.Sprint(body.StatusCode, " ", body.Source, " ", body.Code, " ", body.Message); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

// TestRoutes: what no route takes is not found, whatever its method.
func TestRoutes(t *testing.T) {
	t.Parallel()
	d := New(dialect.Parts{})
	for _, target := range []string{"PATCH /api/sandbox", "GET /api/none", "GET /", "DELETE /toolbox/x/process/execute", "GET /toolbox/", "POST /api//sandbox"} {
		var method, path string
		if _, err := fmt.Sscan(target, &method, &path); err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		d.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, http.NoBody))
		if w.Code != http.StatusNotFound {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
}

// TestStateOf: a sandbox that was stopped keeps that state until the session goes on, by whatever call.
func TestStateOf(t *testing.T) {
	t.Parallel()
	s := settings{State: stateStopped, AutoDelete: -1, Labels: map[string]string{"daytona": "x"}}
	se := job.Session{State: job.SessionPaused, PausedAt: time.Now(), Metadata: s.metadata()}
	if got := stateOf(se, settingsOf(se)); got != stateStopped {
		t.Error(got)
	}
	se.State, se.PausedAt = job.SessionIdle, time.Time{}
	if got := stateOf(se, settingsOf(se)); got != stateStarted {
		t.Error(got)
	}
	if diff := cmp.Diff(s, settingsOf(se)); diff != "" {
		t.Error(diff)
	}
	if got := settingsOf(job.Session{Metadata: json.RawMessage(`"text"`)}); got.AutoDelete != -1 {
		t.Errorf("a session that was opened otherwise: %+v", got)
	}
}
