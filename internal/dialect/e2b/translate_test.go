package e2b

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

func TestASCII(t *testing.T) {
	t.Parallel()
	const text = "a é 𝄞 \u2028"
	line, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	escaped := ascii(line)
	var back string
	if err := json.Unmarshal(escaped, &back); err != nil || back != text || strings.ContainsFunc(string(escaped), func(c rune) bool { return c > '~' }) {
		t.Errorf("%s: %q, %v", escaped, back, err)
	}
}

func TestSandboxIDs(t *testing.T) {
	t.Parallel()
	const session = "0198c2f0-6b7c-7def-8abc-0123456789ab"
	if got, ok := sessionOf(sandboxID(session)); got != session || !ok {
		t.Errorf("%q, %v", got, ok)
	}
	if got, ok := sessionOf(sandboxID(session) + "-client"); got != session || !ok {
		t.Errorf("with the id of a client: %q, %v", got, ok)
	}
	for _, wrong := range []string{"", "debug_sandbox_id", strings.Repeat("x", 32), session, strings.Repeat("é", 16)} {
		if got, ok := sessionOf(wrong); ok {
			t.Errorf("%q is the session %q", wrong, got)
		}
	}
}

// TestOwns: none of the paths that E2B has at the root is one of Kaa's own.
func TestOwns(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/sandboxes", "/v2/sandboxes", "/sandboxes/a/timeout", "/execute", "/contexts", "/contexts/a/restart", "/files", "/process.Process/Start", "/filesystem.Filesystem/Stat"} {
		if !Owns(httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)) {
			t.Errorf("%s is not E2B's", path)
		}
	}
	for _, path := range []string{"/", "/docs", "/healthz", "/health", "/process/interpreter/execute", "/v1/sessions", "/metrics", "/execute/x", "/filesx"} {
		if Owns(httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)) {
			t.Errorf("%s is E2B's", path)
		}
	}
	probe := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/health", nil)
	probe.Header.Set(sandboxHeader, "x")
	if !Owns(probe) {
		t.Error("/health of a sandbox is not E2B's")
	}
}

// TestTicketsAreForOneSandbox: the token of a sandbox opens the door for calls to it only.
func TestTicketsAreForOneSandbox(t *testing.T) {
	t.Parallel()
	d := new(Dialect)
	for path, want := range map[string]bool{
		"/health": true, "/execute": true, "/contexts": true, "/contexts/a": true, "/files": true, "/process.Process/Start": true, "/filesystem.Filesystem/Stat": true,
		"/sandboxes": false, "/v2/sandboxes": false, "/sandboxes/a": false, "/sandboxes/a/timeout": false, "/snapshots": false, "/templates/a": false, "/": false,
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, nil)
		r.Header.Set(sandboxHeader, "0198c2f06b7c7def8abc0123456789ab")
		r.Header.Set(accessHeader, "token")
		if ticket, thing := d.Ticket(r); (ticket == "token") != want || want && thing != accessTo("0198c2f0-6b7c-7def-8abc-0123456789ab") {
			t.Errorf("%s: %q for %q", path, ticket, thing)
		}
	}
}

func TestListing(t *testing.T) {
	t.Parallel()
	begin := time.UnixMilli(1_700_000_000_000)
	var all []job.Session
	for i, state := range []job.SessionState{job.SessionIdle, job.SessionPaused, job.SessionBusy} {
		all = append(all, job.Session{ID: string(rune('a' + i)), State: state, CreatedAt: begin.Add(time.Duration(i) * time.Second), Metadata: encoded(map[string]string{"k": "v"}, details{Template: "base"})})
	}
	all = append(all, job.Session{ID: "other", CreatedAt: begin}) // of Kaa's own API
	ids := func(query string) (text, next string) {
		t.Helper()
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		l, err := listingOf(q)
		if err != nil {
			return "!", ""
		}
		var fit []job.Session
		for _, se := range all {
			if l.fits(se) {
				fit = append(fit, se)
			}
		}
		page, next := l.page(fit)
		for _, se := range page {
			text += se.ID
		}
		return text, next
	}
	for query, want := range map[string]string{
		"": "cba", "order=asc": "abc", "state=paused": "b", "state=running,paused": "cba", "state=running": "ca", "template=base": "cba", "template=other": "",
		"startedAfter=" + url.QueryEscape(begin.Add(time.Second).UTC().Format(time.RFC3339)): "cb",
		"limit=0": "!", "limit=x": "!", "nextToken=%21": "!", "startedAfter=x": "!",
	} {
		if got, _ := ids(query); got != want {
			t.Errorf("%q: %q, want %q", query, got, want)
		}
	}
	first, next := ids("limit=2")
	second, last := ids("limit=2&nextToken=" + next)
	if first != "cb" || second != "a" || last != "" {
		t.Errorf("pages %q and %q, then %q", first, second, last)
	}
	if got := metadataOf(all[0]); len(got) != 1 || got["k"] != "v" {
		t.Errorf("metadata %v", got)
	}
}

func TestEndOf(t *testing.T) {
	t.Parallel()
	code := func(n int) *int { return &n }
	for _, tt := range []struct {
		name   string
		result *job.Result
		want   endEvent
	}{
		{"well", &job.Result{Status: job.StatusOK, ExitCode: code(0)}, endEvent{0, true, "exit status 0", nil}},
		{"with a code", &job.Result{Status: job.StatusExit, ExitCode: code(3)}, endEvent{ExitCode: 3, Exited: true, Status: "exit status 3"}},
		{"by a signal", &job.Result{Status: job.StatusExit, ExitCode: code(137), Signal: "SIGKILL"}, endEvent{ExitCode: -1, Status: "signal: killed"}},
		{"by its time", &job.Result{Status: job.StatusInterrupted}, endEvent{ExitCode: -1, Status: "signal: killed"}},
		{"cancelled", nil, endEvent{ExitCode: -1, Status: "signal: killed"}},
	} {
		got := endOf(job.Job{Result: tt.result})
		failed := got.Error != nil
		got.Error = nil
		if *got != tt.want || failed != (tt.want.Status != "exit status 0") {
			t.Errorf("%s: %+v, want %+v", tt.name, *got, tt.want)
		}
	}
}

func TestInfoOf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		entry               job.Entry
		kind                fileType
		permissions, target string
	}{
		{job.Entry{Path: "/a/b", Type: job.EntryFile, Mode: "0644"}, typeFile, "-rw-r--r--", ""},
		{job.Entry{Path: "/a", Type: job.EntryDirectory, Mode: "0755"}, typeDirectory, "drwxr-xr-x", ""},
		{job.Entry{Path: "/a/l", Type: job.EntryLink, Mode: "0777", Target: "b", TargetType: job.EntryFile}, typeFile, "Lrwxrwxrwx", "/a/b"},
		{job.Entry{Path: "/a/l", Type: job.EntryLink, Mode: "0777", Target: "/none"}, typeLink, "Lrwxrwxrwx", "/none"},
	} {
		if got := infoOf(tt.entry); got.Type != tt.kind || got.Permissions != tt.permissions || got.Target != tt.target {
			t.Errorf("%+v: %+v", tt.entry, got)
		}
	}
}
