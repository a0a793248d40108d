package mcp_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// start runs a Kaa with an interpreter until the end of the test, and returns its URL.
func start(t *testing.T, python string, vars ...string) string {
	t.Helper()
	return startWith(t, nil, python, vars...)
}

// startWith is start with further dialects.
func startWith(t *testing.T, dialects []app.Dialect, python string, vars ...string) string {
	t.Helper()
	ready, done := make(chan net.Addr, 1), make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	logs := new(testenv.Buffer)
	p := app.Process{
		Environ: append(app.Environment{"KAA_ADDR=127.0.0.1:0", "KAA_CONCURRENCY=2", "KAA_PYTHON=" + python, "KAA_REDIS_URL=" + testenv.Redis(t).URL, "KAA_BLOB_URL=file://" + t.TempDir(), "KAA_WORK_DIR=" + t.TempDir(), "KAA_API_KEYS=one,two", "KAA_LOG_LEVEL=WARN"}, vars...),
		Stdout:  io.Discard, Stderr: logs, Ready: func(a net.Addr) { ready <- a }, Dialects: dialects,
	}
	go func() { done <- app.RunDev(ctx, p) }()
	select {
	case addr := <-ready:
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("stop: %v", err)
			}
			if t.Failed() {
				t.Logf("%s", logs)
			}
		})
		return "http://" + addr.String()
	case err := <-done:
		cancel()
		t.Fatalf("start: %v\n%s", err, logs)
		return ""
	}
}

// withKey sends a key with each request.
type withKey struct {
	key string
	*http.Transport
}

func (k withKey) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+k.key)
	return k.Transport.RoundTrip(r)
}

// connect returns a session of the SDK's client at a Kaa. An empty version is the newest.
func connect(t *testing.T, url, key, version string, o *sdk.ClientOptions) *sdk.ClientSession {
	t.Helper()
	return connectAt(t, url+"/mcp", key, version, o)
}

// connectAt is connect for the dialect at an address.
func connectAt(t *testing.T, endpoint, key, version string, o *sdk.ClientOptions) *sdk.ClientSession {
	t.Helper()
	transport := &http.Transport{} // whose connections end with the test
	t.Cleanup(transport.CloseIdleConnections)
	client := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, o)
	s, err := client.Connect(t.Context(), &sdk.StreamableClientTransport{
		Endpoint: endpoint, HTTPClient: &http.Client{Transport: withKey{key, transport}}, DisableStandaloneSSE: true,
	}, &sdk.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// args are the arguments of a tool.
type args map[string]any

// use calls a tool, and returns the texts of its result and the result.
func use(t *testing.T, s *sdk.ClientSession, name string, a args) (string, *sdk.CallToolResult) {
	t.Helper()
	r, err := s.CallTool(t.Context(), &sdk.CallToolParams{Name: name, Arguments: a})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return textOf(r), r
}

func textOf(r *sdk.CallToolResult) string {
	var texts []string
	for _, c := range r.Content {
		if text, ok := c.(*sdk.TextContent); ok {
			texts = append(texts, text.Text)
		}
	}
	return strings.Join(texts, "\n")
}

// post sends a message as it is. It may be called by any goroutine.
func post(t *testing.T, url, key, body string) (status int, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/mcp", strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	r.Header.Set("Authorization", "Bearer "+key)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Error(err)
	}
	return res.StatusCode, string(text)
}
