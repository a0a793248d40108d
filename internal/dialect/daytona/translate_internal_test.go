package daytona

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
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
	want := gitState{CurrentBranch: "main", Upstream: "o/main", Ahead: 2, Behind: 3, BranchPublished: true, FileStatus: []fileStatus{
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
		{"one that is paused", "/toolbox/x/files", job.ErrSessionPaused, "400 DAYTONA_DAEMON BAD_REQUEST the sandbox is not started; start it first"},
		{"no file", "/toolbox/x/files", failed(job.FailNoFile), "404 DAYTONA_DAEMON FILE_NOT_FOUND m"},
		{"a file that may not be read", "/toolbox/x/files", failed(job.FailFileDenied), "403 DAYTONA_DAEMON FILE_ACCESS_DENIED m"},
		{"too slow", "/toolbox/x/process/execute", timedOut(), "408 DAYTONA_DAEMON PROCESS_EXECUTION_TIMEOUT command execution timeout"},
		{"no such session", "/toolbox/x/process/session/s", noShell(), "404 DAYTONA_DAEMON PROCESS_NOT_FOUND session not found"},
		{"a mistake", "/toolbox/x/process/code-run", badRequest("wrong"), "400 DAYTONA_DAEMON BAD_REQUEST wrong"},
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

// TestPrefixed: each line of the output has the prefix of its stream, also where a stream is cut in the middle of a line.
func TestPrefixed(t *testing.T) {
	t.Parallel()
	const o, e = stdoutPrefix, stderrPrefix
	for want, outputs := range map[string][]job.Output{
		"":                               nil,
		o + "a\n" + o + "\n" + e + "b\n": {{Type: "stdout", Text: "a\n\n"}, {Type: "stderr", Text: "b\n"}},
		o + "ab\n" + o + "c" + e + "d":   {{Type: "stdout", Text: "a"}, {Type: "stdout", Text: "b\nc"}, {Type: "stderr", Text: "d"}},
		o + "a" + o + job.DroppedNote(5) + o + "b": {{Type: "stdout", Text: "a", Dropped: 5}, {Type: "stdout", Text: "b"}, {Type: "value"}},
	} {
		if got := prefixed(outputs); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestSplit: SDKs from 0.27 on expect the prefixes, and others do not.
func TestSplit(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{"": false, "0.26.9": false, "0.27.0": true, "0.226.1": true, "1.0.0": true, "0.0.0-dev": true, "x": true, "0.x.1": true} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
		if version != "" {
			r.Header.Set(versionHeader, version)
		}
		if split(r) != want {
			t.Errorf("%q: %v", version, !want)
		}
		r.Header.Del(versionHeader)
		r.Header.Set("Sec-WebSocket-Protocol", "x, "+versionProtocol+version)
		if version != "" && split(r) != want {
			t.Errorf("%q in a subprotocol: %v", version, !want)
		}
	}
}

// TestListening: ports on which something listens, by Linux's tables.
func TestListening(t *testing.T) {
	t.Parallel()
	const tables = "  sl  local_address rem_address   st\n   0: 0100007F:1F90 00000000:0000 0A 0\n   1: 0100007F:1F91 0100007F:1F90 01 0\n" +
		"  sl  local_address\n   0: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A\n   0: x:y z 0A\n   1: 0:1F90 0:0 0A\n"
	if diff := cmp.Diff([]int{80, 8080}, listening(tables)); diff != "" {
		t.Error(diff)
	}
}

// TestFitting: the conditions of a listing.
func TestFitting(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	box := sandbox{ID: "abc", Name: "Box", State: stateStarted, Snapshot: "py", CPU: 2, Memory: 4, CreatedAt: at, LastActivityAt: at}
	for query, want := range map[string]bool{
		"": true, "id=AB": true, "id=x": false, "name=bo": true, "name=boxer": false, "states=stopped&states=started": true, "states=stopped,paused": false,
		"snapshots=py": true, "snapshots=r": false, "minCpu=2&maxCpu=2": true, "minCpu=3": false, "maxMemoryGiB=3": false, "isPublic=true": false, "isPublic=false": true,
		"createdAtAfter=2026-01-02T03:04:05Z": true, "createdAtAfter=2026-01-02T03:04:06Z": false, "lastEventBefore=2026-01-02T03:04:04.5%2B0000": false,
		"autoDestroyAtBefore=2030-01-01T00:00:00Z": false, "unknown=1": true,
	} {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		fits, err := fitting(q)
		if err != nil || fits(box) != want {
			t.Errorf("%s: not %v, %v", query, want, err)
		}
	}
	for _, query := range []string{"minCpu=x", "createdAtAfter=yesterday"} {
		if q, _ := url.ParseQuery(query); q != nil {
			if _, err := fitting(q); err == nil {
				t.Errorf("%s is accepted", query)
			}
		}
	}
	items := []sandbox{{Name: "b"}, {Name: "a"}, {Name: "c"}}
	if ordered(items, "name", "desc"); items[0].Name != "c" || items[2].Name != "a" {
		t.Errorf("%v", items)
	}
}

// TestSignature: a signed URL is of one sandbox, one file and one operation, until its end.
func TestSignature(t *testing.T) {
	t.Parallel()
	d := New(dialect.Parts{})
	const id = "01a22b37-1376-7add-8ea0-9af82f2ce374"
	signedBy := func(n int, method, path, expires string) string {
		return "path=" + path + "&expires=" + expires + "&signature=" + signature(signingKey("ticket", n), method, path, expires)
	}
	later := strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10)
	for name, tt := range map[string]struct {
		method, path, query string
		signed, good        bool
	}{
		"read":           {http.MethodGet, "/toolbox/~h/" + id + "/files/download", signedBy(0, http.MethodGet, "a", later), true, true},
		"write":          {http.MethodPost, "/toolbox/~h/" + id + "/files/upload-v2", signedBy(3, http.MethodPost, "a", later), true, true},
		"without an end": {http.MethodGet, "/toolbox/~h/" + id + "/files/download", signedBy(0, http.MethodGet, "a", "0"), true, true},
		"expired":        {http.MethodGet, "/toolbox/~h/" + id + "/files/download", signedBy(0, http.MethodGet, "a", "1700000000"), false, false},
		"no end":         {http.MethodGet, "/toolbox/~h/" + id + "/files/download", signedBy(0, http.MethodGet, "a", "x"), false, false},
		"another file":   {http.MethodGet, "/toolbox/~h/" + id + "/files/download", strings.Replace(signedBy(0, http.MethodGet, "a", later), "path=a", "path=b", 1), true, false},
		"another use":    {http.MethodGet, "/toolbox/~h/" + id + "/files/download", signedBy(0, http.MethodPost, "a", later), true, false},
		"another route":  {http.MethodGet, "/toolbox/~h/" + id + "/files", signedBy(0, http.MethodGet, "a", later), false, false},
		"no sandbox":     {http.MethodGet, "/toolbox/~h/x/files/download", signedBy(0, http.MethodGet, "a", later), false, false},
		"no holder":      {http.MethodGet, "/toolbox/" + id + "/files/download", signedBy(0, http.MethodGet, "a", later), false, false},
		"no signature":   {http.MethodGet, "/toolbox/~h/" + id + "/files/download", "path=a&expires=" + later, false, false},
		"too often":      {http.MethodGet, "/toolbox/~h/" + id + "/files/download", signedBy(mostRotations+1, http.MethodGet, "a", later), true, false},
	} {
		r := httptest.NewRequestWithContext(t.Context(), tt.method, tt.path+"?"+tt.query, http.NoBody)
		holder, thing, check := d.Signature(r)
		if (check != nil) != tt.signed || check != nil && (holder != "h" || thing != filesOf(id) || check("ticket") != tt.good || check("other")) {
			t.Errorf("%s: %s, %s, %v", name, holder, thing, check != nil)
		}
	}
	r := withoutHolder(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/toolbox/~h/x/process/session/a%2Fb", http.NoBody))
	if r.URL.EscapedPath() != "/toolbox/x/process/session/a%2Fb" {
		t.Error(r.URL)
	}
}

// TestRoutes: what no route takes is not found, whatever its method.
func TestRoutes(t *testing.T) {
	t.Parallel()
	d := New(dialect.Parts{})
	for _, target := range []string{"PATCH /api/sandbox", "GET /api/none", "GET /", "DELETE /toolbox/x/process/execute", "GET /toolbox/", "GET /toolbox/~h", "GET /toolbox/~h//files", "POST /api//sandbox"} {
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
