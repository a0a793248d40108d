package api_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/kaa-run/kaa/internal/job"
)

const someSession = "01900000-0000-7000-8000-000000000000"

// fakeObservers has one job, of which nobody knows the end.
type fakeObservers struct{ err error }

func (f fakeObservers) ObserveSession(_ context.Context, _, _ string, before job.Observation) (job.Observation, error) {
	if before.Last == "" {
		return job.Observation{Last: "1", Jobs: []string{"x"}}, f.err
	}
	return before, f.err
}

func (f fakeObservers) GiveInput(context.Context, string, string, job.Answer) error { return f.err }

func (f fakeObservers) GiveReply(context.Context, string, string, job.Reply) error { return f.err }

// dial opens a socket on a process of its own.
func dial(t *testing.T, cfg parts) *websocket.Conn {
	t.Helper()
	server := httptest.NewServer(newAPI(cfg))
	t.Cleanup(server.Close)
	conn, _, err := websocket.Dial(t.Context(), server.URL+"/v1/sessions/"+someSession+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	return conn
}

// TestSlowSocket: one who takes nothing any more loses his connection.
func TestSlowSocket(t *testing.T) {
	t.Parallel()
	seq := uint64(0)
	cfg := config(&fakeStore{events: func(job.EventID) []job.Event { // endless
		seq += 1000
		e := output(1, seq, 1000)
		e.Data = fmt.Appendf(nil, `{"type":"stream","text":%q}`, strings.Repeat("x", 1<<20))
		return []job.Event{e}
	}})
	cfg.Observers, cfg.dialect.SlowestWrite = fakeObservers{}, 200*time.Millisecond
	dial(t, cfg)
	cfg.core.Background.Wait()
}

// TestSilentSocket: one who does not answer is gone.
func TestSilentSocket(t *testing.T) {
	t.Parallel()
	cfg := config(&fakeStore{})
	cfg.Observers, cfg.dialect.SlowestWrite, cfg.dialect.PingEvery = fakeObservers{}, 100*time.Millisecond, 50*time.Millisecond
	dial(t, cfg) // pongs are sent by who reads
	cfg.core.Background.Wait()
}

// TestLateMessage: a message that does not come to its end ends the connection.
func TestLateMessage(t *testing.T) {
	t.Parallel()
	cfg := config(&fakeStore{})
	cfg.Observers, cfg.dialect.FrameTimeout, cfg.MaxBodyBytes = fakeObservers{}, 50*time.Millisecond, 1<<20
	conn := dial(t, cfg)
	w, err := conn.Writer(t.Context(), websocket.MessageText)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(bytes.Repeat([]byte("x"), 10_000)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Error(err)
	}
}

// TestSocketMemory: frames count as bodies do.
func TestSocketMemory(t *testing.T) {
	t.Parallel()
	cfg := config(&fakeStore{})
	cfg.Observers, cfg.BodyMemory, cfg.MaxBodyBytes = fakeObservers{}, 1000, 1<<20
	conn := dial(t, cfg)
	for frame, want := range map[string]string{
		`{"type":"ping","id":"` + strings.Repeat("x", 2000) + `"}`: "too_many_bytes", `{"type":"ping"}`: "pong",
	} {
		if err := conn.Write(t.Context(), websocket.MessageText, []byte(frame)); err != nil {
			t.Fatal(err)
		}
		if _, text, err := conn.Read(t.Context()); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s %v", text, err)
		}
	}
}

// TestSocketRate: frames count as requests do, and a ping costs nothing.
func TestSocketRate(t *testing.T) {
	t.Parallel()
	cfg := config(&fakeStore{})
	asked := 0
	cfg.Observers, cfg.Allow = fakeObservers{}, func(context.Context, string, string, job.RateLimit) (job.Rate, error) {
		asked++
		return job.Rate{Allowed: asked == 1, RetryAfter: 2 * time.Second}, nil
	}
	conn := dial(t, cfg)
	for _, tt := range [][2]string{{`{"type":"ping"}`, "pong"}, {`{"type":"execute","id":"1","code":"1"}`, `"id":"1","code":"rate_limited"`}} {
		if err := conn.Write(t.Context(), websocket.MessageText, []byte(tt[0])); err != nil {
			t.Fatal(err)
		}
		if _, text, err := conn.Read(t.Context()); err != nil || !strings.Contains(string(text), tt[1]) {
			t.Errorf("%s %v", text, err)
		}
	}
}

// TestSocketsAreBounded: of a process as of a session; and an error before the upgrade is a
// problem.
func TestSocketsAreBounded(t *testing.T) {
	t.Parallel()
	cfg := config(&fakeStore{})
	cfg.Observers, cfg.MaxSyncWaits = fakeObservers{}, 1
	server := httptest.NewServer(newAPI(cfg))
	t.Cleanup(server.Close)
	url := server.URL + "/v1/sessions/" + someSession + "/ws"
	conn, _, err := websocket.Dial(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.CloseNow() }()
	if _, res, err := websocket.Dial(t.Context(), url, nil); err == nil || res.StatusCode != http.StatusTooManyRequests {
		t.Errorf("a second one: %v", err)
	}
	cfg = config(&fakeStore{})
	cfg.Observers = fakeObservers{job.ErrUnavailable}
	broken := httptest.NewServer(newAPI(cfg))
	t.Cleanup(broken.Close)
	if _, res, err := websocket.Dial(t.Context(), broken.URL+"/v1/sessions/"+someSession+"/ws", nil); err == nil ||
		res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("without Redis: %v", err)
	}
}

// TestSocketLog: an error that nobody foresaw is logged, and the client not told of it.
func TestSocketLog(t *testing.T) {
	t.Parallel()
	var logged bytes.Buffer
	cfg := config(&fakeStore{get: func() (job.Job, error) { return job.Job{}, fmt.Errorf("a secret") }})
	cfg.Observers, cfg.core.Log = fakeObservers{}, slog.New(slog.NewTextHandler(&logged, nil))
	conn := dial(t, cfg)
	_, text, err := conn.Read(t.Context())
	if err != nil || !strings.Contains(string(text), `"code":"internal"`) || strings.Contains(string(text), "secret") {
		t.Errorf("%s %v", text, err)
	}
	if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusInternalError {
		t.Error(err)
	}
	cfg.core.Background.Wait()
	if !strings.Contains(logged.String(), "a secret") {
		t.Errorf("logged: %s", &logged)
	}
}
