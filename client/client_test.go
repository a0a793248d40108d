package client_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/client"
)

// serve returns a client of a server that answers so.
func serve(t *testing.T, answer http.HandlerFunc) *client.Client {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return client.New(server.URL+"/", "key").With(server.Client())
}

// TestCalls: a call has the method, path, query, headers and body of its operation, and the answer its type.
func TestCalls(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got := fmt.Sprintf("%s %s %s %s %s", r.Method, r.URL, r.Header.Get("Authorization"), r.Header.Get("Idempotency-Key"), body)
		if r.Method == http.MethodGet {
			_ = json.NewEncoder(w).Encode(map[string]any{"sessions": []any{map[string]any{"id": got}}})
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"id": got, "state": "queued"})
	})
	j, err := c.SubmitJob(t.Context(), client.JobBody{Code: "1", Delay: new(0.0)}, client.IdempotencyKey("k"))
	if want := `POST /v1/jobs Bearer key k {"code":"1","delay":0}`; err != nil || j.ID != want || j.State != "queued" {
		t.Errorf("%v: %s, want %s", err, j.ID, want)
	}
	all, err := c.ListSessions(t.Context(), client.ListSessionsParams{State: []string{"idle", "busy"}, Metadata: []string{"a=1", "b=2"}, Limit: new(int64(3))})
	if want := `GET /v1/sessions?limit=3&metadata=a%3D1&metadata=b%3D2&state=idle%2Cbusy Bearer key  `; err != nil || all.Sessions[0].ID != want {
		t.Errorf("%v: %v, want %s", err, all, want)
	}
	entry, err := c.MoveSessionEntry(t.Context(), "a/b", client.MoveSessionEntryParams{From: "/x", To: "c d"})
	if err != nil || entry.Path != "" {
		t.Errorf("%v: %+v", err, entry)
	}
}

// TestErrors: a refusal is a ProblemError, and a call without an answer an UnreachableError.
func TestErrors(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		status                 int
		kind, body, code, says string
		unreachable            bool
	}{
		"problem":       {status: 429, kind: "application/problem+json", body: `{"code":"queue_full","detail":"send it later","used":7}`, code: "queue_full", says: "send it later"},
		"page":          {status: 502, kind: "text/html", body: "<html>", says: "answered 502 Bad Gateway, and not as a Kaa does"},
		"other JSON":    {status: 404, kind: "application/json", body: `{"message":"x"}`, says: "answered 404 Not Found, and not as a Kaa does"},
		"old server":    {status: 404, kind: "application/problem+json", body: `{"code":"no_such_route","detail":"nothing is here"}`, code: "no_such_route", says: "older than this client"},
		"no JSON":       {status: 200, kind: "text/html", body: "<html>", says: "is not one of a Kaa"},
		"half a result": {status: 200, kind: "application/json", body: `{"status":`, says: "broke off", unreachable: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tt.kind)
				w.Header().Set("Retry-After", "2")
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
			})
			_, err := c.RetryFor(0).Execute(t.Context(), client.ExecuteBody{Code: "1"})
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("%v, want %q", err, tt.says)
			}
			problem, refused := errors.AsType[*client.ProblemError](err)
			if refused != (tt.status != 200) || refused && (problem.Code != tt.code || problem.RetryAfter != "2") || tt.code != "" && !client.IsProblem(err, "x", tt.code) {
				t.Errorf("%+v", problem)
			}
			if _, away := errors.AsType[*client.UnreachableError](err); away != tt.unreachable {
				t.Errorf("%T", err)
			}
		})
	}
}

// TestFollow: events are passed on in order. After a connection that broke, the job is followed from its last event on.
func TestFollow(t *testing.T) {
	t.Parallel()
	var asked []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RawQuery)
		w.Header().Set("Content-Type", "text/event-stream")
		if len(asked) == 1 {
			_, _ = io.WriteString(w, ":\n\nevent: status\ndata: {\"type\":\"status\",\"state\":\"queued\",\"jobId\":\"j\"}\n\nid: 1-2\ndata: {\"type\":\"stream\",\n"+
				"data: \"stream\":\"stdout\",\"text\":\"a\"}\n\nid: 1-3\nevent: stream\ndata: {\"type\":\"st")
			return
		}
		_, _ = io.WriteString(w, "id: 1-3\ndata: {\"type\":\"stream\",\"stream\":\"stderr\",\"text\":\"b\"}\n\ndata: {\"type\":\"gap\",\"bytes\":7}\n\ndata: {\"type\":\"gap\",\"bytes\":9,\"event\":\"display\"}\n\ndata: {\"type\":\"result\",\"main\":true,\"data\":{\"text/plain\":\"'v'\"}}\n\n"+
			"data: {\"type\":\"status\",\"state\":\"completed\",\"status\":\"exit\",\"exitCode\":3}\n\n")
	})
	var seen []string
	note := func(format string, args ...any) { seen = append(seen, fmt.Sprintf(format, args...)) }
	end, err := c.FollowJob(t.Context(), "j", client.Handlers{
		Began: func(id string) { note("began %s", id) }, Gap: func(n int64) { note("gap %d", n) }, TooLarge: func(event string, n int64) { note("%s %d", event, n) }, Value: func(v client.Value) { note("value %s", v.Data["text/plain"]) },
		Output: func(stream, text string) error {
			note("%s %s", stream, text)
			return nil
		},
	})
	if err != nil || end.State != "completed" || end.ExitCode == nil || *end.ExitCode != 3 {
		t.Errorf("%v: %+v", err, end)
	}
	if got, want := strings.Join(seen, ", "), `began j, stdout a, stderr b, gap 7, display 9, value "'v'"`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := strings.Join(asked, " "); got != " lastEventId=1-2" {
		t.Errorf("asked: %q", got)
	}
	silent := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "text/event-stream") })
	if _, err := silent.FollowJob(t.Context(), "j", client.Handlers{}); !errors.Is(err, client.ErrBroken) {
		t.Errorf("a stream without an end: %v", err)
	}
}
