package cli_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/cli"
	"github.com/kaa-run/kaa/internal/testenv"
)

// scripted is a Kaa whose answers are written here: a key that may not look at runners, and connections that break while it is away.
func scripted(t *testing.T) (url string, away *atomic.Bool) {
	t.Helper()
	away = new(atomic.Bool)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if away.Load() {
			panic(http.ErrAbortHandler)
		}
		answers := map[string]string{
			"/v1/queues":   `{"queues":[{"name":"default","depth":7,"active":1,"scheduled":0,"oldestAge":0,"paused":false}]}`,
			"/v1/jobs":     `{"jobs":[{"id":"the-job","queue":"default","state":"running"}]}`,
			"/v1/sessions": `{"sessions":[{"id":"the-session","state":"idle"}]}`,
		}
		text, ok := answers[r.URL.Path]
		if !ok {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusForbidden)
			text = `{"code":"scope_missing","detail":"the key has not the scope admin","status":403}`
		}
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(server.Close)
	return server.URL, away
}

// TestTopLive: on a terminal the view is drawn again and again in a screen of its own, also while the Kaa is away, and the terminal is as
// before at its end.
func TestTopLive(t *testing.T) {
	t.Parallel()
	url, away := scripted(t)
	person, program := openTerminal(t)
	seen := new(testenv.Buffer)
	go func() { _, _ = io.Copy(seen, person) }()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		p := app.Process{Environ: app.Environment{"KAA_URL=" + url}, Stdout: cli.Color{File: program}, Stderr: io.Discard}
		ended <- cli.Top(ctx, p, cli.TopOptions{Every: time.Millisecond})
	}()
	from := 0
	sees := func(texts ...string) {
		t.Helper()
		for _, text := range texts {
			testenv.Eventually(t, text, func() bool {
				at := strings.Index(seen.String()[from:], text)
				if at >= 0 {
					from += at + len(text)
				}
				return at >= 0
			})
		}
	}
	sees("\x1b[?1049h\x1b[?25l\x1b[H"+url, "default", "the-job", "the-session", "\x1b[J", "\x1b[H"+url, "the-session")
	away.Store(true)
	sees("does not answer")
	away.Store(false)
	sees("\x1b[H"+url, "the-job")
	cancel()
	sees("\x1b[?25h\x1b[?1049l")
	if err := <-ended; err != nil || strings.Contains(seen.String(), "RUNNER ") {
		t.Errorf("%v", err)
	}
}

// TestLoginWithFewRights: a key that may not list runtimes is kept, and one that the Kaa does not know is not.
func TestLoginWithFewRights(t *testing.T) {
	t.Parallel()
	url, _ := scripted(t)
	config := t.TempDir() + "/config.json"
	out := new(testenv.Buffer)
	p := app.Process{Environ: app.Environment{"KAA_CONFIG=" + config, "KAA_API_KEY=few-rights"}, Stdout: out, Stderr: out}
	if err := cli.Login(t.Context(), p, url, "", nil); err != nil || !strings.Contains(out.String(), "is the profile default") {
		t.Errorf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(config)
	if err != nil || !strings.Contains(string(text), "few-rights") {
		t.Errorf("%v: %s", err, text)
	}
	unknown := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"code":"unauthorized","detail":"the key is not one of this Kaa","status":401}`)
	}))
	defer unknown.Close()
	p.Environ[1] = "KAA_API_KEY=unknown"
	if err := cli.Login(t.Context(), p, unknown.URL, "", nil); err == nil || !strings.Contains(err.Error(), "nothing is kept: the key is not one") {
		t.Errorf("%v", err)
	}
	if after, err := os.ReadFile(config); err != nil || string(after) != string(text) {
		t.Errorf("%v: %s", err, after)
	}
}
